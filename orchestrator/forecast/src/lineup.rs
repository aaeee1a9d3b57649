//! The levels under consideration: those that were recorded, or those with a change.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use csd_cascade::world::Price;
use csd_level::{Assistant, Call, Context, Sampling, Token};
use csd_maxgram::{BigramError, Bigrams, MaxGram, Settings};

use crate::trace::{Choices, Header, Kind, Level, Text, Trace};

/// What a level would write at a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The token.
    pub id: Token,
    /// How sure it is.
    pub gap: f32,
    /// Its probability.
    pub probability: f32,
}

/// A level under consideration.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Model or Max-Gram.
    pub kind: Kind,
    /// Rows of a review.
    pub rows: usize,
    /// Whether it has a Max-Gram in its process.
    pub assisted: bool,
    /// Where it computes.
    pub host: String,
    /// What its calls cost.
    pub price: Price,
    /// The part of a call that is neither forward nor way.
    pub queue: Duration,
    /// What it would write, by text and position.
    pub choices: Arc<Vec<Vec<Choice>>>,
}

/// A cascade under consideration, and the texts that it is to write.
#[derive(Clone, Debug)]
pub struct Lineup {
    /// Target first.
    pub members: Vec<Member>,
    /// The texts.
    pub(crate) texts: Arc<Vec<Text>>,
    pub(crate) header: Arc<Header>,
    pub(crate) max_gram: Arc<MaxGram>,
}

impl Lineup {
    /// The cascade that was recorded. `bigrams` is the table of its Max-Gram; empty where it has none.
    ///
    /// # Errors
    /// The table was made for another vocabulary.
    pub fn recorded(trace: &Trace, bigrams: Bigrams) -> Result<Self, BigramError> {
        let header = &trace.header;
        let max_gram = Arc::new(MaxGram::new(
            "maxgram",
            header.vocabulary,
            &header.token_map,
            bigrams,
            Settings::default(),
        )?);
        let member = |(index, level): (usize, &Level)| {
            let choices = trace.texts.iter().map(|text| match level.kind {
                Kind::Statistical => proposals(&max_gram, header, text),
                Kind::Neural if index == 0 => own(&text.tokens),
                Kind::Neural => text
                    .choices
                    .get(&level.name)
                    .map(choices)
                    .unwrap_or_default(),
            });
            Member {
                name: level.name.clone(),
                kind: level.kind,
                rows: level.rows,
                assisted: level.assisted,
                host: level.host.clone(),
                price: price(level),
                queue: milliseconds(level.queue_ms),
                choices: Arc::new(choices.collect()),
            }
        };
        Ok(Self {
            members: header.levels.iter().enumerate().map(member).collect(),
            texts: Arc::new(trace.texts.clone()),
            header: Arc::new(header.clone()),
            max_gram,
        })
    }

    /// Where a level stands.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name == name)
    }

    /// How many levels there are under the target.
    pub fn drafters(&self) -> usize {
        self.members.len().saturating_sub(1)
    }

    /// The longest draft that the target reviews.
    pub fn longest(&self) -> usize {
        self.members
            .first()
            .map_or(0, |target| target.rows.saturating_sub(1))
    }

    /// How many texts there are.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }

    /// The share of positions at which two levels would write the same token, given the same text.
    pub fn acceptance(&self, one: usize, other: usize) -> f64 {
        let [one, other] = [one, other].map(|member| &*self.members[member].choices);
        agreement(one, other)
    }

    /// How a member's own Max-Gram agrees with it; of any member, whether it has one or not.
    pub fn assistance(&self, member: usize) -> f64 {
        let last = self.members.len() - 1;
        if self.members[last].kind == Kind::Statistical {
            return self.acceptance(member, last);
        }
        let texts = self.texts.iter();
        let proposed: Vec<_> = texts
            .map(|text| proposals(&self.max_gram, &self.header, text))
            .collect();
        agreement(&self.members[member].choices, &proposed)
    }
}

/// The share of positions of some texts with the same token.
fn agreement(one: &[Vec<Choice>], other: &[Vec<Choice>]) -> f64 {
    let texts = one.iter().zip(other);
    let (mut same, mut all) = (0usize, 0usize);
    for (one, other) in texts.flat_map(|(one, other)| one.iter().zip(other)) {
        same += usize::from(one.id == other.id);
        all += 1;
    }
    same as f64 / all.max(1) as f64
}

/// A level's recorded choices along one text.
pub fn choices(recorded: &Choices) -> Vec<Choice> {
    let sure = recorded.gaps.iter().zip(&recorded.probabilities);
    let choices = recorded.ids.iter().zip(sure);
    choices
        .map(|(&id, (&gap, &probability))| Choice {
            id,
            gap,
            probability,
        })
        .collect()
}

/// The target's: its text.
fn own(tokens: &[Token]) -> Vec<Choice> {
    let choice = |&id: &Token| Choice {
        id,
        gap: 0.0,
        probability: 1.0,
    };
    tokens.iter().map(choice).collect()
}

/// What Max-Gram would propose at each position; where it has nothing, a token that nobody writes.
fn proposals(max_gram: &MaxGram, header: &Header, text: &Text) -> Vec<Choice> {
    let mut call = Call {
        context: Context::new(text.prompt.clone()),
        sampling: Arc::new(Sampling::default()),
        session: 0,
        stream: 0,
        tenant: None,
        timeout: Duration::MAX,
    };
    let nobodys = header.vocabulary as Token;
    let mut found = Vec::with_capacity(text.tokens.len());
    for &token in &text.tokens {
        let proposal = max_gram.propose(&call, 1).tokens.into_iter().next();
        found.push(Choice {
            id: proposal.as_ref().map_or(nobodys, |token| token.id),
            gap: proposal.map_or(0.0, |token| token.gap),
            probability: 1.0,
        });
        call.context.extend([token]);
    }
    found
}

/// A price for each number of rows up to the level's own: on lines between the recorded ones, and never falling.
fn price(level: &Level) -> Price {
    let points: BTreeMap<usize, f64> = level.forward_ms.iter().copied().collect();
    let most = points
        .last_key_value()
        .map_or(0, |(&rows, _)| rows)
        .max(level.rows);
    let mut least = 0.0;
    let at = |rows: usize| {
        let below = points.range(..=rows).next_back();
        let above = points.range(rows..).next();
        let ms = match (below, above) {
            (Some((&low, &from)), Some((&high, &to))) if high > low => {
                from + (to - from) * (rows - low) as f64 / (high - low) as f64
            }
            (Some((_, &ms)), _) | (None, Some((_, &ms))) => ms,
            (None, None) => 0.0,
        };
        least = f64::max(least, ms);
        milliseconds(least)
    };
    let forward = match points.is_empty() {
        true => Vec::new(),
        false => (1..=most).map(at).collect(),
    };
    Price {
        forward,
        link: milliseconds(level.queue_ms + level.round_trip_ms),
    }
}

pub(crate) fn milliseconds(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default()
}
