//! Drafting ahead: while the target reviews, the levels draft on behind what it may say.
//!
//! It may let everything pass; then it adds a token of its own, and the levels guess at that. It may refuse a token; then
//! what a drafter would have written instead is a good guess at what the target puts in its place. There is a draft for
//! each of the likeliest: if one of them is right, the next review begins when this one ends. (PEARL, arXiv 2408.11850,
//! drafts for the first; Kumar et al., *Speculative speculative decoding*, arXiv 2603.03251, for several.)

use std::{future::poll_fn, pin::pin, sync::Arc, task::Context as TaskContext, time::Duration};

use csd_level::{DraftToken, Statistics, Token};

use crate::{Cascade, Request, Strategy, gather::Gather};

/// Drafts for the next round, each behind another outcome of the review that is under way.
pub(crate) struct Ahead {
    outcomes: Vec<Outcome>,
}

/// What the review may say, and a draft for that.
struct Outcome {
    /// How many tokens pass.
    accepted: usize,
    /// What the target puts in place of the next one. Unknown where all pass.
    instead: Option<Token>,
    gather: Gather,
}

/// The review that is under way, and how much was left to write before it.
pub(crate) struct UnderReview<'a> {
    pub(crate) request: &'a Request,
    pub(crate) draft: &'a [DraftToken],
    pub(crate) wanted: usize,
}

impl Ahead {
    /// Behind each outcome that the strategy prepares for, and that leaves something to write, nothing is drafted yet.
    pub(crate) fn new(
        cascade: &Arc<Cascade>,
        strategy: &Arc<dyn Strategy>,
        review: &UnderReview<'_>,
    ) -> Self {
        let draft = review.draft;
        let goes_on = |token: Token| !review.request.sampling.is_end(token);
        let ends = cascade.clock().now() + strategy.expected_review(0, draft.len() + 1);
        let outcome = |accepted, instead| {
            // The target's own token, and one more.
            let left = review.wanted > accepted + 2;
            let outcome = || Outcome::new(cascade, strategy, review, accepted, instead);
            left.then(|| outcome().beside(ends))
        };
        let whole = draft.last().is_none_or(|last| goes_on(last.id));
        let whole = whole.then(|| outcome(draft.len(), None)).flatten();
        let refusals = strategy.refusals(&cascade.descriptions(), draft);
        let refusals = refusals.into_iter().filter_map(|place| {
            let instead = draft.get(place)?.runner_up;
            outcome(place, Some(instead.filter(|token| goes_on(*token))?))
        });
        Self {
            outcomes: whole.into_iter().chain(refusals).collect(),
        }
    }

    /// Whether there is nothing to draft for.
    pub(crate) fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// The review, with the levels drafting beside it.
    pub(crate) async fn beside<T>(&mut self, review: impl Future<Output = T>) -> T {
        beside(review, |context| self.draft(context)).await
    }

    /// Drafts as far as it goes without waiting. Nothing more to draft is no reason to wait for less than the review.
    fn draft(&mut self, context: &mut TaskContext<'_>) {
        for outcome in &mut self.outcomes {
            let _ = outcome.gather.poll(context);
        }
    }

    /// So many tokens have passed and `next` follows, behind which a draft may have `room`: the draft for that, if there is
    /// one. What was drafted for anything else is cancelled.
    pub(crate) fn confirm(self, accepted: usize, next: Token, room: usize) -> Option<Gather> {
        let mut outcomes = self.outcomes.into_iter();
        outcomes.find_map(|outcome| {
            let mut gather = outcome.gather;
            let holds = outcome.accepted == accepted
                && match outcome.instead {
                    Some(instead) => instead == next,
                    None => gather.confirm(next, room),
                };
            holds.then_some(gather)
        })
    }

    /// What was counted since this was asked last.
    pub(crate) fn take_statistics(&mut self) -> Statistics {
        let mut statistics = Statistics::default();
        for outcome in &mut self.outcomes {
            statistics.merge(&outcome.gather.take_statistics(), |level| level);
        }
        statistics
    }
}

/// A review, with drafting beside it: as far as that goes without waiting, and for no longer than the review.
pub(crate) async fn beside<T>(
    review: impl Future<Output = T>,
    mut draft: impl FnMut(&mut TaskContext<'_>),
) -> T {
    let mut review = pin!(review);
    let reviewed = poll_fn(|context| {
        let reviewed = review.as_mut().poll(context);
        if reviewed.is_pending() {
            draft(context);
        }
        reviewed
    });
    reviewed.await
}

impl Outcome {
    fn new(
        cascade: &Arc<Cascade>,
        strategy: &Arc<dyn Strategy>,
        review: &UnderReview<'_>,
        accepted: usize,
        instead: Option<Token>,
    ) -> Self {
        let mut request = review.request.clone();
        let passed = review.draft[..accepted].iter().map(|token| token.id);
        request.context.extend(passed.chain(instead));
        // The target's own token stands before the next draft, known or not.
        let context = review.request.context.len() + accepted + 1;
        let room = cascade.room(context, review.wanted.saturating_sub(accepted + 1));
        let gather = Gather::new(cascade.clone(), strategy.clone(), request, 0, room);
        Self {
            accepted,
            instead,
            gather: match instead {
                Some(_) => gather,
                None => gather.guessing(),
            },
        }
    }

    fn beside(self, until: Duration) -> Self {
        Self {
            gather: self.gather.beside(Some(until)),
            ..self
        }
    }
}
