//! What the orchestrator counts: its texts, and how each level's tokens fared.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{Metrics, PlannerReading, observe, planner::Planner, seconds};

/// Statuses that a failure may have and whose counters exist from the start.
const STATUSES: [u16; 4] = [400, 429, 500, 503];

/// Positions of a draft whose counters exist from the start.
const POSITIONS: u64 = 8;

/// The metrics of an orchestrator.
pub struct Texts {
    metrics: Metrics,
    running: Gauge,
    waiting: Gauge,
    up: Vec<Gauge>,
    success: Family<Finished, Counter>,
    failure: Family<Code, Counter>,
    abandoned: Counter,
    prompt_tokens: Counter,
    generation_tokens: Counter,
    first_token: Histogram,
    between_tokens: Histogram,
    whole: Histogram,
    queue: Histogram,
    /// By level, target first.
    authored: Vec<Counter>,
    /// By level, target first; what the target would draft nobody reviews.
    drafters: Vec<Option<Drafter>>,
    positions: Family<Position, Counter>,
    /// By level, target first.
    names: Vec<String>,
    planner: Planner,
}

/// The counters of a level's drafts.
struct Drafter {
    name: String,
    drafts: Counter,
    drafted: Counter,
    accepted: Counter,
}

/// Who is inside and who waits, and which levels are in use.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// Texts being written.
    pub running: usize,
    /// Texts that wait for their turn.
    pub waiting: usize,
    /// Whether each level is in use, target first.
    pub up: Vec<bool>,
}

/// How a level's tokens fared in the reviews of another.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Drafts handed in.
    pub drafts: u64,
    /// Tokens in them.
    pub drafted: u64,
    /// Of those, accepted.
    pub accepted: u64,
    /// The same by position in the draft.
    pub per_position: &'a [u64],
}

/// A level by its place in the cascade.
pub type Author = u8;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Finished {
    finished_reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Code {
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Name {
    level: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Position {
    level: String,
    position: u64,
}

impl Texts {
    /// The metrics of a cascade of these levels, target first, all zero. `reasons` are those that a text may end for.
    pub fn new(levels: &[String], reasons: &[&'static str]) -> Self {
        let mut metrics = Metrics(Registry::with_prefix("csd"));
        let up = metrics.add(
            "level_up",
            "1 while the orchestrator uses the level, 0 while it is stepped over",
            Family::<Name, Gauge>::default(),
        );
        let authored = metrics.add(
            "authored_tokens",
            "Tokens written, by the level that wrote them",
            Family::<Name, Counter>::default(),
        );
        let drafts = metrics.add(
            "spec_decode_num_drafts",
            "Drafts handed in for review, by the level that drafted",
            Family::<Name, Counter>::default(),
        );
        let drafted = metrics.add(
            "spec_decode_num_draft_tokens",
            "Tokens drafted, by the level that drafted",
            Family::<Name, Counter>::default(),
        );
        let accepted = metrics.add(
            "spec_decode_num_accepted_tokens",
            "Drafted tokens that their reviewer accepted, by the level that drafted",
            Family::<Name, Counter>::default(),
        );
        let labels = levels.iter().map(|level| Name {
            level: level.clone(),
        });
        let drafter = |(index, label): (usize, Name)| {
            (index > 0).then(|| Drafter {
                drafts: drafts.get_or_create_owned(&label),
                drafted: drafted.get_or_create_owned(&label),
                accepted: accepted.get_or_create_owned(&label),
                name: label.level,
            })
        };
        let texts = Self {
            up: (labels.clone())
                .map(|label| up.get_or_create_owned(&label))
                .collect(),
            authored: (labels.clone())
                .map(|label| authored.get_or_create_owned(&label))
                .collect(),
            drafters: labels.enumerate().map(drafter).collect(),
            positions: metrics.add(
                "spec_decode_num_accepted_tokens_per_pos",
                "Accepted tokens by position in the draft, by the level that drafted",
                Family::default(),
            ),
            running: metrics.add(
                "num_requests_running",
                "Texts being written",
                Gauge::default(),
            ),
            waiting: metrics.add(
                "num_requests_waiting",
                "Texts that wait for their turn",
                Gauge::default(),
            ),
            success: metrics.add(
                "request_success",
                "Texts that ended well, by reason",
                Family::default(),
            ),
            failure: metrics.add(
                "request_failure",
                "Requests answered with an error, by HTTP status",
                Family::default(),
            ),
            abandoned: metrics.add(
                "request_abandoned",
                "Texts whose reader left before the end",
                Counter::default(),
            ),
            prompt_tokens: metrics.add("prompt_tokens", "Tokens of prompts", Counter::default()),
            generation_tokens: metrics.add(
                "generation_tokens",
                "Tokens written",
                Counter::default(),
            ),
            first_token: metrics.add(
                "time_to_first_token_seconds",
                "From a text's arrival to its first token",
                seconds(),
            ),
            between_tokens: metrics.add(
                "inter_token_latency_seconds",
                "Between two tokens of a text; the tokens of a round share its time evenly",
                seconds(),
            ),
            whole: metrics.add(
                "e2e_request_latency_seconds",
                "From a text's arrival to its end",
                seconds(),
            ),
            queue: metrics.add(
                "request_queue_time_seconds",
                "Wait of a text for its turn",
                seconds(),
            ),
            names: levels.to_vec(),
            planner: Planner::new(&mut metrics),
            metrics,
        };
        for finished_reason in reasons {
            texts
                .success
                .get_or_create(&Finished { finished_reason })
                .inc_by(0);
        }
        for code in STATUSES {
            texts.failure.get_or_create(&Code { code }).inc_by(0);
        }
        for drafter in texts.drafters.iter().flatten() {
            for position in 0..POSITIONS {
                texts.position(drafter, position, 0);
            }
        }
        texts
    }

    /// A text's turn has come after this wait.
    pub fn begun(&self, prompt_tokens: usize, wait: Duration) {
        self.prompt_tokens.inc_by(prompt_tokens as u64);
        observe(&self.queue, wait);
    }

    /// The first tokens of a text are there, by these authors, this long after its arrival.
    pub fn first(&self, authors: impl ExactSizeIterator<Item = Author>, since_arrival: Duration) {
        observe(&self.first_token, since_arrival);
        self.authored(authors);
    }

    /// Further tokens are there, this long after the last ones.
    pub fn further(&self, authors: impl ExactSizeIterator<Item = Author>, since_last: Duration) {
        let count = authors.len();
        for _ in 0..count {
            observe(&self.between_tokens, since_last / count as u32);
        }
        self.authored(authors);
    }

    fn authored(&self, authors: impl ExactSizeIterator<Item = Author>) {
        self.generation_tokens.inc_by(authors.len() as u64);
        for author in authors {
            if let Some(authored) = self.authored.get(usize::from(author)) {
                authored.inc();
            }
        }
    }

    /// A level's drafts were reviewed.
    pub fn reviewed(&self, drafter: Author, pair: Pair<'_>) {
        let Some(Some(drafter)) = self.drafters.get(usize::from(drafter)) else {
            return;
        };
        drafter.drafts.inc_by(pair.drafts);
        drafter.drafted.inc_by(pair.drafted);
        drafter.accepted.inc_by(pair.accepted);
        for (position, &accepted) in (0..).zip(pair.per_position) {
            self.position(drafter, position, accepted);
        }
    }

    fn position(&self, drafter: &Drafter, position: u64, accepted: u64) {
        let label = Position {
            level: drafter.name.clone(),
            position,
        };
        self.positions.get_or_create(&label).inc_by(accepted);
    }

    /// A text has ended well, this long after its arrival.
    pub fn finished(&self, finished_reason: &'static str, since_arrival: Duration) {
        self.success
            .get_or_create(&Finished { finished_reason })
            .inc();
        observe(&self.whole, since_arrival);
    }

    /// A text's reader has left before its end.
    pub fn abandoned(&self) {
        self.abandoned.inc();
    }

    /// A request was answered with an error.
    pub fn failed(&self, code: u16) {
        self.failure.get_or_create(&Code { code }).inc();
    }

    /// All metrics as text, with what the door says of this moment and what the planner has counted.
    pub fn render(&self, door: &Door, planner: &PlannerReading) -> String {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.running.set(count(door.running));
        self.waiting.set(count(door.waiting));
        for (gauge, &up) in self.up.iter().zip(&door.up) {
            gauge.set(i64::from(up));
        }
        self.planner.read(&self.names, planner);
        self.metrics.render()
    }
}
