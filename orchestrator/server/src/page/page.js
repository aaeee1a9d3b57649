// The page: one request at a time, from the form to the text, the lanes and the figures.

import { Acceptance } from "./acceptance.js";
import { Form } from "./form.js";
import { Lanes } from "./lanes.js";
import { Race } from "./race.js";
import { complete, explain, health, model, takeKey } from "./request.js";
import { TextView, element, make } from "./text.js";

/** How often the server is asked for its levels, in milliseconds. */
const HEALTH = 4000;

const form = new Form();
const race = new Race();
let text, lanes, acceptance, names, running, last;

takeKey();
addEventListener("hashchange", () => { if (takeKey() && !names) start(); });
start();

async function start() {
  clearTimeout(start.timer);
  watch();
  let offered;
  try {
    offered = await model();
  } catch (failure) {
    if (names) return; // another start, with a key, was sooner
    notice(...explain(failure));
    if (failure.status !== 401) start.timer = setTimeout(start, HEALTH); // else a key is to come first
    return;
  }
  if (names) return;
  notice();
  names = offered.cascade.levels.map((level) => level.name);
  form.offer(offered);
  const point = (round) => { text.light(round); lanes.light(round); };
  text = new TextView(offered.cascade.levels, point);
  lanes = new Lanes(offered.cascade.levels, point);
  acceptance = new Acceptance(offered.cascade.levels);
  element("form").addEventListener("submit", (event) => { event.preventDefault(); generate(); });
  element("stop").addEventListener("click", () => running?.abort());
  element("race").addEventListener("click", () => compete());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); generate(); }
    if (event.key === "Escape") { running?.abort(); element("tip").hidden = true; }
  });
  element("generate").disabled = false;
  document.body.dataset.ready = "true";
}

/** Writes a text and shows it as it comes. */
async function generate() {
  if (running) return;
  const body = form.body();
  const run = { body, tokens: [], rounds: 0 };
  let dirty = false;
  const began = performance.now();
  const paint = () => {
    if (dirty) { figures(run); acceptance.show(); dirty = false; }
    if (running) requestAnimationFrame(paint);
  };
  const clear = () => {
    text.start(body.prompt);
    lanes.start();
    acceptance.start();
    race.start();
    last = undefined;
  };
  await busy("Writing…", async (signal) => {
    requestAnimationFrame(paint);
    for await (const { at, choice, report } of complete({ ...body, cascade_events: true }, signal)) {
      const round = run.rounds;
      if (round === 0) clear(); // what stood there stays while the server may still refuse
      run.rounds += 1;
      const tokens = choice.token_ids.map((id, position) => ({
        id,
        text: choice.token_texts[position],
        author: names.indexOf(choice.token_authors[position]),
        ...choice.events.tokens[position],
        round,
        position,
        of: choice.token_ids.length,
        at: at - began,
      }));
      run.tokens.push(...tokens);
      run.report = report;
      text.add(tokens, choice.finish_reason === "stop");
      lanes.add(round, choice.events.calls);
      acceptance.add(tokens, choice.events.calls);
      dirty = true;
    }
    last = run;
  });
  if (!run.rounds) return;
  lanes.finish();
  acceptance.show();
  acceptance.pairs(run.report?.pairs);
  figures(run);
  if (run.report) {
    element("status").textContent = `Finished: ${run.tokens.length} tokens, ${element("figure-speed").textContent} tokens per second.`;
  }
}

/** Whether there is a whole text to race for. */
function raceable() {
  element("race").disabled = Boolean(running) || !last || last.body.cascade === "off";
}

/** Lets the target alone write the last text again. */
async function compete() {
  if (!running && last) await busy("Racing…", (signal) => race.against(last, signal));
}

/** Runs the one thing that runs, and shows how it failed if it did. */
async function busy(what, work) {
  running = new AbortController();
  form.clear();
  notice();
  element("status").textContent = what;
  document.body.classList.add("writing");
  element("generate").disabled = true;
  raceable();
  element("stop").disabled = false;
  try {
    await work(running.signal);
  } catch (failure) {
    if (failure.name === "AbortError") {
      notice("Stopped.", "Every level has dropped the request; what stands above is the target’s own, as far as it goes.", true);
    } else if (failure.status === undefined) {
      notice("This page has a bug.", String(failure));
      throw failure;
    } else {
      const [title, reason] = explain(failure);
      notice(title, reason);
      if (failure.status === 400) form.refuse(failure);
    }
  } finally {
    running = undefined;
    document.body.classList.remove("writing");
    element("generate").disabled = false;
    element("stop").disabled = true;
    raceable();
  }
}

function figures(run) {
  const put = (id, value, unit = "") => element(`figure-${id}`).replaceChildren(value, ...(unit ? [make("small", {}, unit)] : []));
  const tokens = run.tokens.length;
  if (!tokens) {
    for (const id of ["speed", "round", "first", "tokens", "time"]) put(id, "–");
    return;
  }
  const time = run.tokens.at(-1).at;
  put("speed", String(Math.round((1000 * tokens) / time)));
  put("round", (tokens / run.rounds).toFixed(1));
  put("first", run.tokens[0].at.toFixed(run.tokens[0].at < 10 ? 1 : 0), "ms");
  put("tokens", String(tokens));
  put("time", (time / 1000).toFixed(2), "s");
}

function notice(title, reason, calm = false) {
  element("notice").hidden = !title;
  element("notice").classList.toggle("calm", calm);
  element("notice-title").textContent = title ?? "";
  element("notice-text").textContent = reason ?? "";
}

/** Says which levels are up, again and again. */
async function watch() {
  if (!document.hidden) {
    let status = "unavailable", said = "The server does not answer";
    try {
      const report = await health();
      const down = report.levels.filter((level) => level.status !== "up");
      status = report.status;
      said = down.length ? down.map((level) => `${level.name} is down: ${level.reason}`).join("; ") : `${report.model} · ${report.levels.length} levels up`;
    } catch { /* said above */ }
    element("health").dataset.status = status;
    if (element("health-text").textContent !== said) element("health-text").textContent = said;
  }
  clearTimeout(watch.timer);
  watch.timer = setTimeout(watch, HEALTH);
}
