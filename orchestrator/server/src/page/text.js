// The text, token by token, and the small card that says where a token or a call came from.

/** The element of an id. */
export const element = (id) => document.getElementById(id);

/** A new HTML element. */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** A new SVG element. */
export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Lets one element of a group have the focus at a time and moves it with the arrow keys. */
export function rove(group, selector, step) {
  group.addEventListener("keydown", (event) => {
    if (!event.key.startsWith("Arrow") && event.key !== "Home" && event.key !== "End") return;
    const all = [...group.querySelectorAll(selector)];
    if (!all.length) return;
    const here = all.indexOf(document.activeElement);
    let next;
    if (event.key === "Home") next = all[0];
    else if (event.key === "End") next = all.at(-1);
    else if (here < 0) next = event.key === "ArrowLeft" || event.key === "ArrowUp" ? all.at(-1) : all[0];
    else next = step(all, here, event.key.slice(5));
    event.preventDefault();
    next?.focus();
  });
}

/** The card beside what is pointed at. */
export const tip = {
  show(anchor, ...lines) {
    const card = element("tip");
    card.replaceChildren(...lines.map((line) => make("p", {}, ...[line].flat())));
    card.hidden = false;
    const at = anchor.getClientRects()[0] ?? anchor.getBoundingClientRect();
    const { width, height } = card.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - width - 8));
    const above = at.top - height - 8;
    card.style.left = `${left}px`;
    card.style.top = `${above > 8 ? above : at.bottom + 8}px`;
    anchor.setAttribute("aria-describedby", "tip");
  },
  hide() {
    element("tip").hidden = true;
  },
};

export class TextView {
  /** `levels`: names and kinds, target first. `point(round)`: told which round is pointed at, or null. */
  constructor(levels, point) {
    this.levels = levels;
    this.view = element("text");
    for (const kind of ["pointerover", "focusin"]) this.view.addEventListener(kind, (event) => this.pointed(event.target, point));
    for (const kind of ["pointerout", "focusout"]) this.view.addEventListener(kind, () => { tip.hide(); point(null); });
    this.view.addEventListener("scroll", () => tip.hide(), { passive: true });
    rove(this.view, ".token", (all, here, way) => (way === "Left" ? all[here - 1] : way === "Right" ? all[here + 1] : line(all, here, way)));
    this.counts = levels.map(() => 0);
    element("legend").replaceChildren(...levels.map((level, index) => make("li", { "data-level": index },
      make("span", { class: "swatch", "data-level": index }, level.name),
      make("span", { class: "count" }),
    )));
    this.legend();
  }

  start(prompt) {
    tip.hide();
    this.tokens = [];
    this.counts.fill(0);
    this.view.replaceChildren(make("span", { class: "prompt" }, prompt));
    this.view.scrollTop = this.view.scrollHeight;
    this.legend();
  }

  /** Adds a round's tokens: text, author (its place in the cascade), reviewers, probability, round, position. */
  add(tokens, ended) {
    const follows = this.view.scrollHeight - this.view.scrollTop - this.view.clientHeight < 60;
    tokens.forEach((token, index) => {
      const last = ended && index === tokens.length - 1;
      const span = make("span", { class: "token", "data-level": token.author, "data-round": token.round, tabindex: -1 }, token.text);
      if (token.text === "") {
        span.classList.add("end");
        span.textContent = last ? "end" : "·";
      }
      span.token = token;
      this.tokens.push(span);
      this.counts[token.author] += 1;
      this.view.append(span);
    });
    if (follows) this.view.scrollTop = this.view.scrollHeight;
    this.legend();
  }

  /** Marks the tokens of one round. */
  light(round) {
    for (const span of this.tokens ?? []) span.classList.toggle("lit", span.token.round === round);
  }

  legend() {
    const all = this.counts.reduce((sum, count) => sum + count, 0);
    [...element("legend").children].forEach((item, index) => {
      const count = this.counts[index];
      item.querySelector(".count").textContent = all ? `${count} · ${Math.round((100 * count) / all)} %` : "0";
    });
  }

  pointed(target, point) {
    const token = target.token;
    if (!token) return;
    const author = this.levels[token.author];
    const who = token.author === 0 ? "the target’s own token"
      : token.reviewers.length ? `accepted by ${token.reviewers.join(", then ")}` : "not reviewed";
    tip.show(target,
      [make("code", {}, JSON.stringify(token.text)), ` · id ${token.id}`],
      [make("strong", {}, author.name), author.kind === "statistical"
        ? " proposed it: statistics, no probability" : ` gave it a probability of ${percent(token.probability)}`],
      who,
      `round ${token.round + 1}, position ${token.position + 1} of ${token.of}`,
    );
    point(token.round);
  }
}

/** The token nearest to this one in the line above or below. */
function line(all, here, way) {
  const from = all[here].getBoundingClientRect();
  const rows = way === "Down" ? all.slice(here + 1) : all.slice(0, here).reverse();
  const other = (rect) => (way === "Down" ? rect.top > from.top + 4 : rect.top < from.top - 4);
  const first = rows.find((span) => other(span.getBoundingClientRect()));
  if (!first) return null;
  const top = first.getBoundingClientRect().top;
  const row = rows.filter((span) => Math.abs(span.getBoundingClientRect().top - top) < 4);
  const far = (span) => Math.abs(span.getBoundingClientRect().left - from.left);
  return row.reduce((best, span) => (far(span) < far(best) ? span : best));
}

const percent = (p) => (p > 0.9995 ? "100 %" : p < 0.0005 ? "under 0.1 %" : `${(100 * p).toFixed(1)} %`);
