// The race: a run that was just timed, and the same request with the cascade off, on one clock.

import { complete } from "./request.js";
import { element, make } from "./text.js";

export class Race {
  constructor() {
    const track = (name) => {
      const place = { figure: make("span", {}, "–"), bar: make("i"), text: make("pre", { "aria-hidden": "true" }) };
      place.track = make("div", { class: "track" },
        make("h3", {}, name, place.figure),
        make("div", { class: "progress" }, place.bar),
        place.text,
      );
      return place;
    };
    this.cascade = track("the cascade");
    this.alone = track("the target alone");
    element("tracks").replaceChildren(this.cascade.track, this.alone.track);
  }

  /** Forgets the last race. */
  start() {
    for (const place of [this.cascade, this.alone]) {
      place.text.textContent = "";
      place.figure.textContent = "–";
      place.bar.style.width = "0";
    }
    element("verdict").textContent = "";
  }

  /** Runs the target alone against `run`: a request, and its tokens with the milliseconds after which each arrived. */
  async against(run, signal) {
    this.start();
    const own = [];
    const began = performance.now();
    let racing = true, failed = false;
    const frame = () => {
      const now = performance.now() - began;
      const shown = Math.max(1.15 * run.tokens.at(-1).at, Math.min(now, own.at(-1)?.at ?? now));
      this.paint(this.cascade, run.tokens, run.tokens.length, now, shown);
      this.paint(this.alone, own, run.tokens.length, now, shown);
      const replayed = failed || now > run.tokens.at(-1).at;
      if (racing || !replayed) requestAnimationFrame(frame);
      else if (!failed) this.judge(run.tokens, own);
    };
    requestAnimationFrame(frame);
    try {
      for await (const { at, choice } of complete({ ...run.body, cascade: "off" }, signal)) {
        choice.token_ids.forEach((id, index) => own.push({ id, text: choice.token_texts[index], at: at - began }));
      }
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      racing = false;
    }
  }

  /** The bar is the time a track has taken, of the time `shown`: the shorter one is the sooner. */
  paint(place, tokens, all, now, shown) {
    const done = tokens.length && now >= tokens.at(-1).at && tokens.length === all;
    const here = tokens.filter((token) => token.at <= now);
    const text = here.map((token) => token.text).join("");
    if (place.text.textContent !== text) {
      place.text.textContent = text;
      place.text.scrollTop = place.text.scrollHeight;
    }
    const time = done ? tokens.at(-1).at : now;
    place.bar.style.width = `${Math.min(100, (100 * time) / shown)}%`;
    place.figure.textContent = `${here.length} tokens · ${(time / 1000).toFixed(2)} s · ${Math.round((1000 * here.length) / Math.max(time, 1))} tokens/s`;
  }

  judge(cascade, alone) {
    const same = cascade.length === alone.length && cascade.every((token, index) => token.id === alone[index].id);
    if (!same) {
      element("verdict").textContent = "The two texts differ, which must not happen under the coupled rule between equal builds. Please report it.";
      return;
    }
    const factor = alone.at(-1).at / cascade.at(-1).at;
    const words = factor >= 1.03 ? "as fast, and the same text token for token."
      : factor > 0.97 ? ": no difference, and the same text token for token."
      : "as fast: here the drafts cost more than they saved. The text is the same, token for token.";
    element("verdict").replaceChildren(make("strong", {}, `${factor.toFixed(2)} ×`), ` ${words}`);
  }
}
