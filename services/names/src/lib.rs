//! The names of spans, events and their attributes, in one place: a leaf that the pure crates may import too.
//!
//! A name is used in a macro as a constant in braces: `info_span!(ROUND_SPAN, { ROUND } = 3)`.
//!
//! RPC and service names are OpenTelemetry's semantic conventions 1.45 (stable). The GenAI conventions are in development
//! and moving (read in November 2026); these constants are the pin. Speculative decoding has no convention: `csd.*` is ours.
//! What a span is called in a log line is its constant; in a trace it may be more ([`draft_by`]), but never as much as a
//! number: a name stands for a class of operations, their particulars are attributes.

/// The whole of one request in the orchestrator.
pub const REQUEST_SPAN: &str = "request";
/// All levels reading a new prompt.
pub const PREFILL_SPAN: &str = "prefill";
/// One round: the draft of a cascade and its review by the target.
pub const ROUND_SPAN: &str = "round";
/// A turn of a drafter: it writes, or reviews what the levels under it write.
pub const DRAFT_SPAN: &str = "draft";
/// A review.
pub const REVIEW_SPAN: &str = "review";
/// A call on the wire, on either side.
pub const RPC_SPAN: &str = "rpc";
/// A command's wait for the engine.
pub const QUEUE_SPAN: &str = "queue";
/// A forward of the engine.
pub const FORWARD_SPAN: &str = "forward";
/// Calls on the wire, client and server alike, are named by the fully qualified method.
pub const DRAFT_CALL: &str = "csd.v1.Level/Draft";
/// See [`DRAFT_CALL`].
pub const VERIFY_CALL: &str = "csd.v1.Level/Verify";
/// See [`DRAFT_CALL`].
pub const REMEMBER_CALL: &str = "csd.v1.Level/Remember";

/// A turn of the level `drafter`, whose tokens `reviewer` will review, as a trace shows it.
pub fn draft_by(drafter: &str, reviewer: &str) -> String {
    format!("{DRAFT_SPAN} by {drafter} for {reviewer}")
}

/// A review by a level, as a trace shows it.
pub fn review_by(level: &str) -> String {
    format!("{REVIEW_SPAN} by {level}")
}

/// A level's reading of a prompt, as a trace shows it.
pub fn prefill_by(level: &str) -> String {
    format!("{PREFILL_SPAN} by {level}")
}

/// An event of the span in which a draft is made: what the planner has decided, and why.
pub const DECISION_EVENT: &str = "csd.planner.decision";
/// The target, in tracing's sense, of the planner's events: they are of interest to a trace, and too many for a log.
pub const PLANNER: &str = "csd_cascade::planner";

/// Read by the exporter itself: a span's name where it is not fixed.
pub const OTEL_NAME: &str = "otel.name";
/// Read by the exporter itself: `client`, `server`, `internal`.
pub const OTEL_KIND: &str = "otel.kind";
/// Read by the exporter itself: `OK` or `ERROR`.
pub const OTEL_STATUS_CODE: &str = "otel.status_code";
/// Read by the exporter itself: why the status is `ERROR`.
pub const OTEL_STATUS_DESCRIPTION: &str = "otel.status_description";

/// The kind of process.
pub const SERVICE_NAME: &str = "service.name";
/// What the processes of one product share.
pub const SERVICE_NAMESPACE: &str = "service.namespace";
/// The version of csd.
pub const SERVICE_VERSION: &str = "service.version";
/// What tells a process from others of its name.
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";

/// `grpc`.
pub const RPC_SYSTEM: &str = "rpc.system.name";
/// The fully qualified method: the span's name.
pub const RPC_METHOD: &str = "rpc.method";
/// The status by name: `OK`, `DEADLINE_EXCEEDED`, …
pub const RPC_STATUS: &str = "rpc.response.status_code";
/// The called host.
pub const SERVER_ADDRESS: &str = "server.address";
/// The called port.
pub const SERVER_PORT: &str = "server.port";
/// What kind of failure; absent when all went well.
pub const ERROR_TYPE: &str = "error.type";
/// The HTTP method.
pub const HTTP_METHOD: &str = "http.request.method";
/// The matched route, e.g. `/v1/completions`.
pub const HTTP_ROUTE: &str = "http.route";
/// The HTTP status, a number.
pub const HTTP_STATUS: &str = "http.response.status_code";

/// `text_completion` or `chat`.
pub const GEN_AI_OPERATION: &str = "gen_ai.operation.name";
/// `csd`.
pub const GEN_AI_PROVIDER: &str = "gen_ai.provider.name";
/// The model asked for.
pub const GEN_AI_REQUEST_MODEL: &str = "gen_ai.request.model";
/// The limit on generated tokens.
pub const GEN_AI_REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
/// The temperature asked for.
pub const GEN_AI_REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
/// The seed asked for.
pub const GEN_AI_REQUEST_SEED: &str = "gen_ai.request.seed";
/// The id of the answer.
pub const GEN_AI_RESPONSE_ID: &str = "gen_ai.response.id";
/// Why each choice ended.
pub const GEN_AI_RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// Tokens of the prompt.
pub const GEN_AI_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Tokens generated.
pub const GEN_AI_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";

/// A level's name in its cascade: target, draft, …
pub const LEVEL: &str = "csd.cascade.level";
/// The level that will review a draft.
pub const REVIEWER: &str = "csd.cascade.reviewer";
/// The plan that a request runs, by name or as a matrix.
pub const PLAN: &str = "csd.cascade.plan";
/// The number of a round within its request, from 0.
pub const ROUND: &str = "csd.round";
/// Tokens of the context of a call.
pub const CONTEXT_TOKENS: &str = "csd.context.tokens";
/// How a level takes its turn: it writes `alone`, or `assisted` by its own Max-Gram, or reviews a `cascade` below it.
pub const MANNER: &str = "csd.draft.manner";
/// Tokens that a turn goes on for.
pub const WANTED: &str = "csd.draft.wanted";
/// Most tokens that a turn may return.
pub const ROOM: &str = "csd.draft.room";
/// Whether a turn is taken while the target still reviews what stands before it.
pub const AHEAD: &str = "csd.draft.ahead";
/// Tokens drafted, or reviewed.
pub const DRAFT_TOKENS: &str = "csd.draft.tokens";
/// Tokens accepted of those reviewed.
pub const ACCEPTED_TOKENS: &str = "csd.accepted.tokens";
/// Who wrote each token of a round, in their order: `draft draft mini target`.
pub const AUTHORS: &str = "csd.authors";
/// What the planner has decided.
pub const DECISION: &str = "csd.planner.choice";
/// Tokens that a turn is worth beyond those that its time would bring anyway.
pub const WORTH: &str = "csd.planner.worth";
/// Tokens of text that a turn is expected to bring.
pub const EXPECTED_TOKENS: &str = "csd.planner.expected_tokens";
/// Seconds that it is expected to take.
pub const EXPECTED_SECONDS: &str = "csd.planner.expected_seconds";
/// Tokens a second that the text is written at: what a turn's time is worth.
pub const TIME_PRICE: &str = "csd.planner.time_price";
/// Microseconds of a call that its level neither had it nor had answered it: the client's time less the next two.
pub const NETWORK_US: &str = "csd.network_us";
/// Microseconds that the level had a call and computed nothing for it.
pub const QUEUE_US: &str = "csd.queue_us";
/// Microseconds that the level computed for a call.
pub const FORWARD_US: &str = "csd.forward_us";
/// Rows of a forward.
pub const ROWS: &str = "csd.rows";
/// Requests that shared a forward.
pub const SEQUENCES: &str = "csd.sequences";
/// Positions found in a cache.
pub const CACHED_POSITIONS: &str = "csd.cached.positions";

/// A count as an attribute: OpenTelemetry's integers are signed, and an unsigned one would be exported as text.
pub fn count(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
