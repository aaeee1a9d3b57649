//! One round of the cascade.
//!
//! ```text
//! round(context):                               the target's turn
//!     draft = gather(target, context)
//!     return target.verify(context, draft)      exact, always
//!
//! step(j, context):                             a drafter's turn
//!     if j needs nobody but its own Max-Gram: return level[j].draft(context)
//!     draft = gather(j, context)
//!     return level[j].verify(context, draft)    as loose as the plan says
//!
//! gather(i, context):                           the horizontal cascade
//!     for j in i+1 ..= n:                       larger drafters write the early positions
//!         while the draft is shorter than K[i][i+1] + … + K[i][j] and open:
//!             draft += step(j, context + draft)
//! ```

use std::{sync::Arc, time::Duration};

use csd_level::{
    BoxFuture, Call, Description, Draft, DraftRequest, DraftToken, Error, Kind, Lenience, Level,
    Proposal, Result, Rule, Statistics, Verdict, VerifyRequest,
};
use tracing::Instrument as _;

use crate::{Gate, Plan, Request};

/// How long levels may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A drafter's call; one that takes longer is stepped over.
    pub draft_timeout: Duration,
    /// A review of the target, and the first reading of a prompt anywhere.
    pub verify_timeout: Duration,
}

/// Levels that cannot work together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// There is no level at all.
    #[error("a cascade needs at least its target")]
    Empty,
    /// A level that cannot review stands where one must.
    #[error("level {0:?} is statistical and must stand last, under a neural level")]
    NotLast(String),
    /// Different maps from token ids to texts.
    #[error(
        "level {level:?} ({model}, token map {found}) does not share the token map of {target:?} ({expected}): the levels of a cascade need the same tokenizer"
    )]
    TokenMap {
        /// The level at fault.
        level: String,
        /// What it serves.
        model: String,
        /// Its fingerprint.
        found: String,
        /// The target's name.
        target: String,
        /// The target's fingerprint.
        expected: String,
    },
}

/// A cascade of levels, target first.
pub struct Cascade {
    levels: Vec<Arc<dyn Level>>,
    gates: Vec<Arc<Gate>>,
    limits: Limits,
}

/// What a round wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// At least one token; authors and reviewers in the cascade's numbering.
    pub tokens: Vec<DraftToken>,
    /// How many tokens the target reviewed.
    pub drafted: usize,
    /// Calls and reviews of this round.
    pub statistics: Statistics,
}

/// A draft on its way up, and what was counted for it.
#[derive(Default)]
struct Gathered {
    tokens: Vec<DraftToken>,
    statistics: Statistics,
}

impl Cascade {
    /// Puts levels together.
    ///
    /// # Errors
    /// [`Mismatch`] when they cannot form a cascade.
    pub fn new(levels: Vec<Arc<dyn Level>>, limits: Limits) -> Result<Self, Mismatch> {
        let descriptions: Vec<_> = levels.iter().map(|level| level.description()).collect();
        let target = descriptions.first().ok_or(Mismatch::Empty)?;
        for (index, description) in descriptions.iter().enumerate() {
            if description.kind == Kind::Statistical
                && (index == 0 || index + 1 != descriptions.len())
            {
                return Err(Mismatch::NotLast(description.name.clone()));
            }
            Self::compatible(target, description)?;
        }
        let gates = levels.iter().map(|_| Arc::default()).collect();
        Ok(Self {
            levels,
            gates,
            limits,
        })
    }

    /// Checks that a level speaks the target's tokens. Padding of the output layer may differ.
    ///
    /// # Errors
    /// [`Mismatch::TokenMap`] otherwise.
    pub fn compatible(target: &Description, level: &Description) -> Result<(), Mismatch> {
        if level.token_map == target.token_map {
            return Ok(());
        }
        Err(Mismatch::TokenMap {
            level: level.name.clone(),
            model: level.model.clone(),
            found: level.token_map.clone(),
            target: target.name.clone(),
            expected: target.token_map.clone(),
        })
    }

    /// The levels, target first.
    pub fn levels(&self) -> &[Arc<dyn Level>] {
        &self.levels
    }

    /// The same cascade with each level as `view` shows it. Gates are shared: what one learns of a level, both know.
    #[must_use]
    pub fn viewed(&self, view: impl Fn(usize, &Arc<dyn Level>) -> Arc<dyn Level>) -> Self {
        let levels = self.levels.iter().enumerate();
        Self {
            levels: levels.map(|(index, level)| view(index, level)).collect(),
            gates: self.gates.clone(),
            limits: self.limits,
        }
    }

    /// A gate a level. Closed ones are stepped over; the target's says whether its last call failed.
    pub fn gates(&self) -> &[Arc<Gate>] {
        &self.gates
    }

    /// How many levels there are under the target.
    pub fn drafters(&self) -> usize {
        self.levels.len() - 1
    }

    /// Lets one level read the context, so that its first turn is quick; it is used from then on.
    ///
    /// # Errors
    /// Those of the level; a drafter's gate is closed by them.
    pub async fn prefill(&self, level: usize, request: &Request) -> Result<()> {
        let neural = self.levels[level].description().kind == Kind::Neural;
        let call = self.call(level, request, &[], self.limits.verify_timeout);
        let read = VerifyRequest {
            call,
            draft: Draft::default(),
            lenience: Lenience::NONE,
        };
        let result = if neural {
            self.levels[level].verify(read).await.map(drop)
        } else {
            Ok(())
        };
        request.session.set_ready(level);
        result.inspect_err(|error| self.note(level, error))
    }

    /// Writes the next tokens of a text, at most `wanted` (at least 1): one review by the target of a draft that the
    /// levels under it wrote.
    ///
    /// # Errors
    /// The target's only. [`Error::Invalid`] for a plan that does not fit the cascade or the review rule.
    pub async fn round(&self, request: &Request, plan: &Plan, wanted: usize) -> Result<Round> {
        if plan.drafters() != self.drafters() {
            let reason = format!(
                "the plan is for {} drafters, the cascade has {}",
                plan.drafters(),
                self.drafters()
            );
            return Err(Error::invalid("cascade.k", reason));
        }
        if request.sampling.rule == Rule::Rejection && plan.lenience().is_loose() {
            let reason = "lenience above 1 is not proven together with rejection sampling; use 1, or the coupled rule";
            return Err(Error::invalid("cascade.lenience", reason));
        }
        let target = self.levels[0].description();
        let left = target.context.saturating_sub(request.context.len() + 1);
        let room = wanted
            .saturating_sub(1)
            .min(target.rows.saturating_sub(1))
            .min(left);
        let gathered = self
            .gather(0, plan.target(), plan, request, &[], room)
            .await;

        let (drafted, mut statistics) = (gathered.tokens, gathered.statistics);
        let call = self.call(0, request, &[], self.limits.verify_timeout);
        let draft = Draft {
            tokens: drafted.clone(),
            ..Draft::default()
        };
        let review = VerifyRequest {
            call,
            draft,
            lenience: Lenience::NONE,
        };
        let verdict = self.levels[0]
            .verify(review)
            .await
            .inspect_err(|error| self.note(0, error))?;
        let count = drafted.len();
        let tokens = conclude(0, drafted, verdict, &mut statistics)?;
        if tokens.is_empty() {
            return Err(Error::Internal("the target's review wrote nothing".into()));
        }
        Ok(Round {
            tokens,
            drafted: count,
            statistics,
        })
    }

    /// The horizontal cascade: collects a draft of at most `room` tokens for level `i`, larger drafters first. A level
    /// that fails or has nothing to say ends its turn; the next one fills the rest.
    async fn gather(
        &self,
        i: usize,
        budget: &[usize],
        plan: &Plan,
        request: &Request,
        written: &[DraftToken],
        room: usize,
    ) -> Gathered {
        let mut draft = Gathered::default();
        let mut threshold = 0;
        for (j, allotted) in (i + 1..).zip(budget) {
            threshold += allotted;
            while draft.tokens.len() < threshold.min(room)
                && !self.closed(request, &draft.tokens)
                && self.usable(j, request)
            {
                let before = [written, &draft.tokens].concat();
                let (wanted, room) = (threshold - draft.tokens.len(), room - draft.tokens.len());
                let span = tracing::info_span!("csd.turn", csd.cascade.level = %self.levels[j].description().name);
                let step = self
                    .step(j, plan, request, &before, wanted, room)
                    .instrument(span);
                match step.await {
                    Ok(more) => {
                        draft.statistics.merge(&more.statistics, |level| level);
                        if more.tokens.is_empty() {
                            break;
                        }
                        draft.tokens.extend(more.tokens);
                    }
                    Err(error) => {
                        self.note(j, &error);
                        break;
                    }
                }
            }
        }
        draft
    }

    /// The vertical cascade: at most `room` tokens that drafter `j` stands behind.
    fn step<'a>(
        &'a self,
        j: usize,
        plan: &'a Plan,
        request: &'a Request,
        before: &'a [DraftToken],
        wanted: usize,
        room: usize,
    ) -> BoxFuture<'a, Result<Gathered>> {
        Box::pin(async move {
            let drafter = plan.drafter(j);
            let description = self.levels[j].description();
            let left = description
                .context
                .saturating_sub(request.context.len() + before.len());
            let room = room.min(left);
            if room == 0 {
                return Ok(Gathered::default());
            }
            if let Some(assist) = alone(&description, &drafter.budget) {
                let call = self.call(j, request, before, self.limits.draft_timeout);
                let ask = DraftRequest {
                    call,
                    wanted,
                    room,
                    assist,
                    lenience: drafter.lenience,
                };
                return self.levels[j]
                    .draft(ask)
                    .await
                    .and_then(|draft| self.adopt(j, draft, room));
            }
            let inner_room = (room - 1).min(description.rows.saturating_sub(1));
            let Gathered {
                tokens,
                mut statistics,
            } = self
                .gather(j, &drafter.budget, plan, request, before, inner_room)
                .await;
            let call = self.call(j, request, before, self.limits.draft_timeout);
            let draft = Draft {
                tokens: tokens.clone(),
                ..Draft::default()
            };
            let review = VerifyRequest {
                call,
                draft,
                lenience: drafter.lenience,
            };
            let reviewed = match self.levels[j].verify(review).await {
                Ok(verdict) => conclude(j, tokens.clone(), verdict, &mut statistics),
                Err(error) => Err(error),
            };
            match reviewed {
                Ok(tokens) => Ok(Gathered { tokens, statistics }),
                // Unreviewed, the draft is still worth the next reviewer's look.
                Err(error) if !tokens.is_empty() => {
                    self.note(j, &error);
                    Ok(Gathered { tokens, statistics })
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Renumbers a level's own draft into the cascade's numbering: its 0 is level `j`, its 1 the last level.
    fn adopt(&self, j: usize, draft: Draft, room: usize) -> Result<Gathered> {
        if draft.len() > room {
            return Err(Error::Internal(format!(
                "asked for at most {room} tokens, answered {}",
                draft.len()
            )));
        }
        let number = |level: u8| {
            if level == 0 {
                j as u8
            } else {
                self.drafters() as u8
            }
        };
        let mut gathered = Gathered {
            tokens: draft.tokens,
            statistics: Statistics::default(),
        };
        gathered.statistics.merge(&draft.inner, number);
        for token in &mut gathered.tokens {
            token.author = number(token.author);
            let accepted_by = |bit: u8| token.reviewers >> bit & 1;
            token.reviewers = accepted_by(0) << number(0) | accepted_by(1) << number(1);
        }
        Ok(gathered)
    }

    fn call(
        &self,
        level: usize,
        request: &Request,
        before: &[DraftToken],
        timeout: Duration,
    ) -> Call {
        let mut context = request.context.clone();
        context.extend(before.iter().map(|token| token.id));
        let (sampling, session) = (request.sampling.clone(), request.session.id());
        Call {
            context,
            sampling,
            session,
            stream: level as u8,
            timeout,
        }
    }

    /// Nothing may extend a draft that ends the text.
    fn closed(&self, request: &Request, draft: &[DraftToken]) -> bool {
        draft
            .last()
            .is_some_and(|last| request.sampling.is_end(last.id))
    }

    fn usable(&self, level: usize, request: &Request) -> bool {
        self.gates[level].is_open() && request.session.is_ready(level)
    }

    /// Closes the gate of a level that failed by its own fault. A full queue or a long context is nobody's fault.
    fn note(&self, level: usize, error: &Error) {
        let excused = matches!(
            error,
            Error::Busy { .. } | Error::ContextLength { .. } | Error::Cancelled
        );
        if !excused && (level > 0 || error.is_transient()) && self.gates[level].close() {
            let name = &self.levels[level].description().name;
            tracing::warn!(level = %name, %error, "stepping over a level that failed");
        }
    }
}

/// Whether a level runs its whole turn in one Draft call, and with how much of its own Max-Gram: it uses nobody, or only
/// a Max-Gram that it has in its own process.
fn alone(level: &Description, budget: &[usize]) -> Option<usize> {
    let (&last, others) = budget.split_last().unwrap_or((&0, &[]));
    let nobody_else = others.iter().all(|&budget| budget == 0);
    (nobody_else && (last == 0 || level.assisted)).then_some(last)
}

/// Applies a verdict: the accepted prefix, marked as reviewed, and the reviewer's own token.
fn conclude(
    level: usize,
    mut draft: Vec<DraftToken>,
    verdict: Verdict,
    statistics: &mut Statistics,
) -> Result<Vec<DraftToken>> {
    if verdict.accepted > draft.len() {
        return Err(Error::Internal(format!(
            "accepted {} of {} tokens",
            verdict.accepted,
            draft.len()
        )));
    }
    statistics.record_calls(level as u8, 1);
    statistics.record_review(level as u8, &draft, verdict.accepted);
    let reviewed = !draft.is_empty();
    draft.truncate(verdict.accepted);
    for token in &mut draft {
        token.reviewers |= 1 << level;
        token.proposal = Proposal::OneHot;
    }
    draft.extend(verdict.next.map(|mut next| {
        next.author = level as u8;
        if reviewed {
            next.proposal = Proposal::OneHot;
        }
        next
    }));
    Ok(draft)
}
