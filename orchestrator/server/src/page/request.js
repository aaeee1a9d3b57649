// The API as this page uses it: one streamed completion, and what the server says of itself.

/** A refusal of the server, or the lack of one. */
export class Refused extends Error {
  constructor(status, error, retryAfter) {
    super(error.message ?? "the server gave no reason");
    this.status = status;
    this.param = error.param ?? null;
    this.retryAfter = retryAfter;
  }
}

/** Where this tab keeps its key. */
const KEY = "csd-key";

let key;
try { key = sessionStorage.getItem(KEY); } catch { /* a browser that keeps nothing forgets it when the page is loaded again */ }

/**
 * A key, where the server asks for one, comes behind #key= in the page's address: browsers keep that part to themselves.
 * It is taken out of there at once, lest it be looked at, shared or remembered. Returns whether there was one.
 */
export function takeKey() {
  // As it is, but for the characters that browsers write otherwise there.
  const given = location.hash.match(/^#key=(.+)$/)?.[1].replace(/%(22|3C|3E|60)/g, (written) => decodeURIComponent(written));
  if (!given) return false;
  key = given;
  history.replaceState(null, "", location.pathname + location.search);
  try { sessionStorage.setItem(KEY, key); } catch { /* as above */ }
  return true;
}

/** What a status means for the one who asked; the server's own message says the rest. */
export function explain(failure) {
  const again = failure.retryAfter ? ` Try again in ${failure.retryAfter} s.` : "";
  switch (failure.status) {
    case 0: return ["The server does not answer.", "Is csd still running? " + failure.message];
    case 200: return ["The text is incomplete.", `The stream broke off: ${failure.message}. What stands above is the target’s own, as far as it goes.`];
    case 400: return ["The server refuses this request.", failure.message];
    case 401: return [
      key ? "The server does not know this API key." : "The server asks for an API key.",
      `Open ${location.origin}${location.pathname}#key=YOUR-KEY, with ${key ? "another" : "your"} key for YOUR-KEY. This tab keeps it, and takes it out of the address.`,
    ];
    case 429: return ["All places are taken.", `The server writes a bounded number of texts at once and keeps a bounded queue; both are full. It says: ${failure.message}.${again}`];
    case 503: return ["The target cannot be reached.", `Drafters may come and go, but nobody else writes the target’s text. It says: ${failure.message}.${again}`];
    default: return [`The server answered with status ${failure.status}.`, failure.message];
  }
}

/** Asks for a text and yields its chunks, each with the time it arrived. Throws Refused; AbortError when stopped. */
export async function* complete(body, signal) {
  const response = await send("v1/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, return_token_ids: true }),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  let done = false;
  for await (const data of events(response.body)) {
    if (data === "[DONE]") { done = true; continue; }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refused(200, chunk.error);
    yield { at: performance.now(), choice: chunk.choices[0], report: chunk.cascade };
  }
  if (!done) throw new Refused(200, { message: "the connection closed before the end" });
}

/** The model on offer with its levels and plans. */
export async function model() {
  const response = await send("v1/models");
  if (!response.ok) throw await refusal(response);
  return (await response.json()).data[0];
}

/** Which levels are up. */
export async function health() {
  const response = await send("health");
  return response.json();
}

async function refusal(response) {
  const answer = await response.json().catch(() => ({}));
  return new Refused(response.status, answer.error ?? {}, response.headers.get("retry-after"));
}

async function send(path, options = {}) {
  const authorization = key ? { authorization: `Bearer ${key}` } : {};
  options = { ...options, headers: { ...options.headers, ...authorization } };
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { message: String(error.message ?? error) });
  }
}

/** The data of server-sent events, one string an event. */
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const lines = part.split("\n").filter((line) => line.startsWith("data:"));
        if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(200, { message: String(error.message ?? error) });
  } finally {
    reader.cancel().catch(() => {});
  }
}
