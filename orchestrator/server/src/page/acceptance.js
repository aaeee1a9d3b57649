// Whose tokens were accepted: by their position in the target's drafts, and by pair of reviewer and drafter.

import { draw, element, make } from "./text.js";

const HEIGHT = 188, LEFT = 30, FOOT = 34, TOP = 8;

export class Acceptance {
  constructor(levels) {
    this.levels = levels.map((level) => level.name);
    this.start();
    new ResizeObserver(() => { this.stale = true; this.show(); }).observe(element("positions"));
  }

  start() {
    /** By position: reviews with a draft that long, and accepted tokens by author. */
    this.positions = [];
    this.stale = true;
    this.wait("Counted when the text ends.");
    this.show();
  }

  /** Adds a round: the tokens that came of it, and the target's review among its calls. */
  add(tokens, calls) {
    const review = calls.find((call) => call.level === this.levels[0] && call.what === "verify");
    const slot = (position) => (this.positions[position] ??= { drafted: 0, by: this.levels.map(() => 0) });
    for (let position = 0; position < (review?.drafted ?? 0); position += 1) slot(position).drafted += 1;
    for (const token of tokens) if (token.author > 0) slot(token.position).by[token.author] += 1;
    this.stale = true;
  }

  /** Draws what was added since the last time. */
  show() {
    if (!this.stale) return;
    this.stale = false;
    if (!this.positions.length) {
      element("positions").replaceChildren(make("p", { class: "blank" }, "No draft was reviewed."));
      return;
    }
    const width = Math.max(240, element("positions").clientWidth);
    const most = Math.max(...this.positions.map((slot) => slot.drafted), 1);
    const count = Math.max(this.positions.length, 8);
    const wide = (width - LEFT) / count, tall = HEIGHT - FOOT - TOP;
    const y = (reviews) => TOP + tall * (1 - reviews / most);
    const parts = [];
    for (const reviews of new Set([0, Math.ceil(most / 2), most])) {
      parts.push(draw("line", { class: "rule", x1: LEFT, x2: width, y1: y(reviews) + .5, y2: y(reviews) + .5 }));
      parts.push(draw("text", { class: "axis", x: LEFT - 6, y: y(reviews) + 4, "text-anchor": "end" }, String(reviews)));
    }
    this.positions.forEach((slot, position) => {
      const x = LEFT + position * wide + wide * .14, bar = wide * .72;
      let sum = 0;
      slot.by.forEach((accepted, author) => {
        if (!accepted) return;
        const part = draw("rect", { class: "part", "data-level": author, x, width: bar, y: y(sum + accepted), height: y(sum) - y(sum + accepted) });
        part.append(draw("title", {}, `position ${position + 1}: ${accepted} by ${this.levels[author]} accepted, of ${slot.drafted} drafted`));
        parts.push(part);
        sum += accepted;
      });
      parts.push(draw("rect", { class: "slot", x, width: bar, y: y(slot.drafted), height: y(0) - y(slot.drafted) }));
    });
    const every = Math.ceil(count / 14);
    for (let position = 0; position < count; position += every) {
      parts.push(draw("text", { class: "axis", x: LEFT + (position + .5) * wide, y: HEIGHT - FOOT + 14, "text-anchor": "middle" }, String(position + 1)));
    }
    parts.push(draw("text", { class: "axis", x: (LEFT + width) / 2, y: HEIGHT - 5, "text-anchor": "middle" }, "position in the draft"));
    const [drafted, accepted] = [this.sum((slot) => slot.drafted), this.sum((slot) => slot.by.reduce((a, b) => a + b, 0))];
    const label = `The target accepted ${accepted} of ${drafted} drafted tokens.`;
    element("positions").replaceChildren(draw("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label }, ...parts));
  }

  sum(of) {
    return this.positions.reduce((sum, slot) => sum + of(slot), 0);
  }

  wait(why) {
    element("pairs").replaceChildren(make("p", { class: "blank" }, why));
  }

  /** The report's pairs, which come with the end of the text; undefined where it had none. */
  pairs(pairs) {
    if (!pairs) return this.wait("Not counted: the text did not reach its end.");
    if (!pairs.length) return this.wait("Nobody drafted.");
    const level = (name) => this.levels.indexOf(name);
    const head = ["reviewer", "drafter", "accepted", ""].map((title) => (title ? make("th", { scope: "col" }, title) : make("td")));
    const rows = pairs.map((pair) => {
      const share = (100 * pair.accepted) / pair.drafted;
      const bar = make("i");
      bar.style.width = `${share}%`;
      return make("tr", {},
        make("th", { scope: "row", class: "by", "data-level": level(pair.reviewer) }, pair.reviewer),
        make("th", { class: "by", "data-level": level(pair.drafter) }, pair.drafter),
        make("td", {}, `${pair.accepted} of ${pair.drafted}`),
        make("td", { class: "gauge", "data-level": level(pair.drafter), title: `${share.toFixed(0)} %` }, make("span", {}, bar)),
      );
    });
    head[2].style.textAlign = "right";
    element("pairs").replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
  }
}
