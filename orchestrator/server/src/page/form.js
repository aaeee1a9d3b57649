// What is asked for: prompt, plan and sampling, and where the server's refusal of one of them is shown.

import { element, make } from "./text.js";

const EXAMPLES = [
  {
    name: "A word problem",
    tokens: 96,
    prompt: "<|user|>\nThere are 32 eggs at the garden. Grace takes 7 eggs and Liam takes 5 eggs. How many eggs are left?\n<|assistant|>\n",
  },
  {
    name: "Another one",
    tokens: 96,
    prompt: "<|user|>\nMaya has 38 balloons. Maya buys 12 more balloons at the garden and then gives 8 balloons to Victor. How many balloons does Maya have now?\n<|assistant|>\n",
  },
  {
    name: "A piece of Rust",
    tokens: 110,
    prompt: "#[derive(Clone, Debug, PartialEq)]\npub enum Shape {\n    Circle,\n    Square,\n    Triangle,\n}\n\nimpl fmt::Display for Shape {\n    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {\n        match self {\n            Shape::Circle => write!(f, \"circle\"),\n",
  },
];

const FILE = "", OWN = "own";
const NOTES = {
  [FILE]: ({ cascade: { plan } }) => plan.k ? `K ${JSON.stringify(plan.k)}, lenience ${plan.lenience}` : NOTES[plan.name](),
  auto: () => "The planner: whatever pays, judged from what it measures.",
  off: () => "Nobody drafts: one forward a token.",
  [OWN]: () => "Rows review, columns draft.",
};

/** Fields by the `param` of an error that names them. */
const FIELDS = { prompt: "prompt", temperature: "temperature", max_tokens: "max_tokens", seed: "seed" };

export class Form {
  constructor() {
    element("examples").append(...EXAMPLES.map((example) => {
      const button = make("button", { type: "button", "aria-pressed": "false" }, example.name);
      button.addEventListener("click", () => this.choose(example));
      example.button = button;
      return button;
    }));
    element("plan").addEventListener("change", () => this.planned());
    element("prompt").addEventListener("input", () => this.mark());
    this.choose(EXAMPLES[0]);
  }

  /** Offers the plans that fit the model's levels, and a matrix of their size. */
  offer(model) {
    this.model = model;
    const option = (value, text) => make("option", { value }, text);
    element("plan").replaceChildren(
      option(FILE, "the cascade file’s plan"),
      ...model.cascade.plans.map((name) => option(name, ({ off: "off: the target alone", auto: "auto: the planner" })[name] ?? name)),
      option(OWN, "a K matrix of your own"),
    );
    const names = model.cascade.levels.map((level) => level.name);
    const drafters = names.slice(1);
    element("matrix-head").replaceChildren(make("td"), ...drafters.map((name) => make("th", { scope: "col" }, name)));
    element("matrix-body").replaceChildren(...drafters.map((_, row) => make("tr", {},
      make("th", { scope: "row" }, names[row]),
      ...drafters.map((drafter, column) => make("td", {}, column < row ? "·" : make("input", {
        type: "number", min: 0, step: 1, value: model.cascade.plan.k?.[row][column] ?? 0,
        "aria-label": `K of ${names[row]} for ${drafter}`,
      }))),
    )));
    element("lenience").value = model.cascade.plan.lenience ?? 1;
    this.planned();
  }

  /** The request as the fields say it. A seed is drawn here if none is given, so that the request can be repeated. */
  body() {
    const number = (id) => (element(id).value.trim() === "" ? undefined : Number(element(id).value));
    const plan = element("plan").value;
    const seed = element("seed").value.trim();
    const body = {
      prompt: element("prompt").value,
      temperature: number("temperature"),
      max_tokens: number("max_tokens"),
      seed: seed === "" ? crypto.getRandomValues(new Uint32Array(1))[0] : Number(seed),
      ignore_eos: element("ignore_eos").checked,
      cascade: plan === OWN ? { k: this.matrix(), lenience: number("lenience") } : plan || undefined,
    };
    if (Number.isNaN(body.seed)) body.seed = seed; // the server says what is wrong with it
    return body;
  }

  matrix() {
    const entry = (cell) => {
      const input = cell.querySelector("input");
      return input ? (input.value === "" ? null : Number(input.value)) : 0;
    };
    return [...element("matrix-body").rows].map((row) => [...row.cells].slice(1).map(entry));
  }

  /** Shows a refusal beside the field it names; returns whether there is one. */
  refuse(failure) {
    const param = failure.param ?? "";
    const own = element("plan").value === OWN;
    if (own && param.startsWith("cascade")) {
      const inputs = param === "cascade.lenience" ? [element("lenience")] : [...element("matrix-body").querySelectorAll("input")];
      this.show(element("matrix-error"), failure.message, inputs);
    } else if (param.startsWith("cascade")) {
      this.show(element("plan-error"), failure.message, [element("plan")]);
    } else if (FIELDS[param]) {
      this.show(element(`${FIELDS[param]}-error`), failure.message, [element(FIELDS[param])]);
    } else {
      return false;
    }
    return true;
  }

  show(place, message, fields) {
    place.textContent = message;
    place.hidden = false;
    fields.forEach((field) => field.setAttribute("aria-invalid", "true"));
    fields[0]?.focus();
  }

  /** Takes all refusals back. */
  clear() {
    for (const place of element("form").querySelectorAll(".error")) place.hidden = true;
    for (const field of element("form").querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  }

  choose(example) {
    element("prompt").value = example.prompt;
    element("max_tokens").value = example.tokens;
    this.mark();
  }

  mark() {
    const prompt = element("prompt").value;
    for (const { button, prompt: own } of EXAMPLES) button.setAttribute("aria-pressed", String(own === prompt));
  }

  planned() {
    const plan = element("plan").value;
    element("matrix").hidden = plan !== OWN;
    element("plan-note").textContent = (NOTES[plan] ?? (() => "A setting of the paper."))(this.model);
  }
}
