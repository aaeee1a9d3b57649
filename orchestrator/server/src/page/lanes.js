// The lanes: what each level did when. One lane a level, one bar a call, one band a round.

import { draw, element, make, rove, tip } from "./text.js";

const LANE = 44, TOP = 6, BAR = 22, AXIS = 24;
/** The narrowest round that can be read; a longer run scrolls instead. */
const ROUND = 28;

export class Lanes {
  /** `levels`: names, target first. `point(round)`: told which round is pointed at, or null. */
  constructor(levels, point) {
    this.levels = levels.map((level) => level.name);
    this.view = element("lanes");
    this.height = TOP + LANE * levels.length + AXIS;
    this.bands = draw("g");
    this.grid = draw("g");
    this.bars = draw("g");
    this.svg = draw("svg", { height: this.height }, this.bands, this.grid, this.bars);
    this.view.replaceChildren(this.svg);
    element("lane-names").replaceChildren(...this.levels.map((name, index) => make("li", { "data-level": index }, name, make("small"))));
    element("zoom-in").addEventListener("click", () => this.zoom(1.6));
    element("zoom-out").addEventListener("click", () => this.zoom(1 / 1.6));
    element("zoom-fit").addEventListener("click", () => this.fit());
    for (const kind of ["pointerover", "focusin"]) this.view.addEventListener(kind, (event) => this.pointed(event.target.closest(".call"), point));
    for (const kind of ["pointerout", "focusout"]) this.view.addEventListener(kind, () => { tip.hide(); point(null); });
    this.view.addEventListener("scroll", () => tip.hide(), { passive: true });
    rove(this.view, ".call", (all, here, way) => this.step(all, all[here], way));
    new ResizeObserver(() => this.resized()).observe(this.view);
    this.start();
  }

  start() {
    this.calls = [];
    this.rounds = [];
    this.end = 0;
    this.live = true;
    this.bands.replaceChildren();
    this.bars.replaceChildren();
    this.rescale(this.width() / 160);
    this.names();
  }

  /** Adds a round's calls. */
  add(round, calls) {
    if (!calls.length) return;
    const band = draw("rect", { class: "band", y: TOP, height: LANE * this.levels.length });
    this.rounds.push({ round, band, from: Math.min(...calls.map((call) => call.start_ms)), to: Math.max(...calls.map((call) => call.end_ms)) });
    if (round % 2) this.bands.append(band);
    for (const call of [...calls].sort((a, b) => a.start_ms - b.start_ms)) {
      const group = draw("g", { class: "call", "data-level": this.levels.indexOf(call.level), "data-round": round, tabindex: -1, role: "img", "aria-label": `${call.level}: ${told(call)}` });
      Object.assign(group, { call, round });
      this.calls.push(group);
      this.bars.append(group);
      this.end = Math.max(this.end, call.end_ms);
    }
    if (this.end * this.scale > this.width()) {
      const wider = this.width() / (this.end * 1.6);
      this.rescale(Math.min(this.scale, Math.max(wider, this.least())));
    } else {
      this.place(calls.length);
    }
    this.view.scrollLeft = this.svg.clientWidth;
    this.names();
  }

  /** No further round comes. */
  finish() {
    this.live = false;
    if (this.end && this.width() / this.end >= 0.7 * this.least()) this.fit();
    else this.rescale(this.scale);
    this.view.setAttribute("aria-label", `Calls of each level over ${Math.round(this.end)} ms: ${this.counts().join(", ")}. The arrow keys move between calls.`);
  }

  /** Marks the calls of one round. */
  light(round) {
    this.bars.classList.toggle("rounds", round !== null);
    for (const group of this.calls) group.classList.toggle("lit", group.round === round);
    for (const { round: own, band } of this.rounds) band.classList.toggle("lit", own === round);
  }

  width() {
    return Math.max(200, this.view.clientWidth - 2);
  }

  least() {
    return this.rounds.length ? (ROUND * this.rounds.length) / this.end : 0;
  }

  fit() {
    if (this.end) this.rescale((this.width() - 8) / this.end);
    this.view.scrollLeft = 0;
  }

  zoom(factor) {
    const middle = (this.view.scrollLeft + this.width() / 2) / this.scale;
    this.rescale(Math.min(200, Math.max(this.end ? (this.width() - 8) / this.end : 0.01, this.scale * factor)));
    this.view.scrollLeft = middle * this.scale - this.width() / 2;
  }

  resized() {
    if (!this.live) this.fit();
    else this.rescale(this.scale);
  }

  rescale(scale) {
    this.scale = scale;
    this.place(this.calls.length);
  }

  /** Puts the last `count` calls where they belong, and the axis under them. */
  place(count) {
    const width = Math.max(this.width(), Math.ceil(this.end * this.scale) + (this.live ? 24 : 4));
    this.svg.setAttribute("width", width);
    for (const { band, from, to } of this.rounds) {
      band.setAttribute("x", from * this.scale);
      band.setAttribute("width", Math.max(0, to - from) * this.scale);
    }
    for (const group of this.calls.slice(this.calls.length - count)) this.bar(group);
    this.axis(width);
  }

  bar(group) {
    const { call } = group;
    const x = call.start_ms * this.scale, width = Math.max(2, (call.end_ms - call.start_ms) * this.scale - 1);
    const y = TOP + this.levels.indexOf(call.level) * LANE + (LANE - BAR) / 2 + 5;
    const rect = (kind, part) => draw("rect", { class: kind, x, width, y: y + BAR * (1 - part), height: BAR * part, rx: Math.min(3, width / 3) });
    const parts = [];
    let label = "";
    group.classList.toggle("thin", width < 7); // an outline would be all there is to see
    if (call.error) {
      parts.push(rect("bar failed", 1));
      label = "✕";
    } else if (call.what === "draft") {
      parts.push(rect("bar draft", 1));
      label = `+${call.drafted}`;
    } else if (call.drafted === 0) {
      parts.push(rect("bar alone", 0.45));
    } else {
      parts.push(rect("bar verify", 1));
      if (call.accepted) parts.push(rect("fill", call.accepted / call.drafted));
      label = `${call.accepted}/${call.drafted}`;
    }
    if (label && width > 5.6 * label.length) parts.push(draw("text", { class: "count", x: x + width / 2, y: y - 4, "text-anchor": "middle" }, label));
    group.replaceChildren(...parts);
  }

  axis(width) {
    const steps = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 60000];
    const step = steps.find((ms) => ms * this.scale >= 64) ?? steps.at(-1);
    const foot = TOP + LANE * this.levels.length;
    const parts = this.levels.map((_, lane) => draw("line", { class: "rule", x1: 0, x2: width, y1: TOP + LANE * (lane + 1) + .5, y2: TOP + LANE * (lane + 1) + .5 }));
    for (let ms = 0; ms * this.scale < width - 30; ms += step) {
      const x = Math.round(ms * this.scale) + .5;
      parts.push(draw("line", { class: "tick", x1: x, x2: x, y1: TOP, y2: foot + 4 }));
      parts.push(draw("text", { class: "axis", x: x + 4, y: foot + 16 }, ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`));
    }
    this.grid.replaceChildren(...parts);
  }

  counts() {
    return this.levels.map((name) => {
      const calls = this.calls.filter(({ call }) => call.level === name).length;
      return `${name} ${calls} ${calls === 1 ? "call" : "calls"}`;
    });
  }

  names() {
    const counts = this.counts();
    [...element("lane-names").children].forEach((item, lane) => {
      item.querySelector("small").textContent = counts[lane].slice(this.levels[lane].length + 1);
    });
  }

  /** Left and right within a lane; up and down to the call nearest in time. */
  step(all, here, way) {
    const lane = (group) => this.levels.indexOf(group.call.level);
    const of = (index) => all.filter((group) => lane(group) === index);
    if (way === "Left" || way === "Right") {
      const own = of(lane(here));
      return own[own.indexOf(here) + (way === "Left" ? -1 : 1)];
    }
    for (let index = lane(here) + (way === "Down" ? 1 : -1); this.levels[index]; index += way === "Down" ? 1 : -1) {
      const far = (group) => Math.abs(group.call.start_ms - here.call.start_ms);
      if (of(index).length) return of(index).reduce((best, group) => (far(group) < far(best) ? group : best));
    }
    return null;
  }

  pointed(group, point) {
    if (!group) return;
    const { call } = group;
    const time = (ms) => `${ms.toFixed(ms < 10 ? 2 : 1)} ms`;
    const took = call.end_ms - call.start_ms;
    const lines = [[make("strong", {}, call.level), ` ${told(call)}`], `from ${time(call.start_ms)} to ${time(call.end_ms)}: ${time(took)}`];
    if (!call.error) {
      const rest = Math.max(0, took - call.queue_ms - call.forward_ms);
      lines.push(`forward ${time(call.forward_ms)}, ${call.rows} ${call.rows === 1 ? "row" : "rows"} · queue ${time(call.queue_ms)} · network and rest ${time(rest)}`);
    }
    lines.push(`round ${group.round + 1}`);
    tip.show(group, ...lines);
    point(group.round);
  }
}

function told(call) {
  const tokens = (count) => `${count} ${count === 1 ? "token" : "tokens"}`;
  if (call.error) return `failed: ${call.error}`;
  if (call.what === "draft") return `drafts ${tokens(call.drafted)}`;
  if (call.drafted === 0) return "reads the context, and has a token of its own";
  return `reviews ${tokens(call.drafted)}, accepts ${call.accepted}`;
}
