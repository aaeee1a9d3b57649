//! One round: the levels draft, the target reviews; while it reviews, the levels may draft on.

use std::sync::Arc;

use csd_level::{DraftToken, Error, Logprobs, Result, Rule, Statistics, Timings};

use crate::{
    Cascade, Request, Strategy,
    ahead::{Ahead, UnderReview},
    audition::Audition,
    gather::Gather,
    strategy::Wrote,
    turn,
};

/// How one text is drafted: by which strategy, and what stands behind its end already.
pub struct Drafting {
    strategy: Arc<dyn Strategy>,
    ahead: Option<Gather>,
    audition: Option<Audition>,
}

impl Drafting {
    /// Nothing is drafted yet.
    pub fn new(strategy: Arc<dyn Strategy>) -> Self {
        Self {
            strategy,
            ahead: None,
            audition: None,
        }
    }

    /// By which strategy the text is drafted.
    pub fn strategy(&self) -> &dyn Strategy {
        &*self.strategy
    }
}

/// What a round wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// At least one token; authors and reviewers in the cascade's numbering.
    pub tokens: Vec<DraftToken>,
    /// What the target thinks of each of them, if the request asks.
    pub logprobs: Vec<Logprobs>,
    /// How many tokens the target reviewed.
    pub drafted: usize,
    /// Of the target's review.
    pub timings: Timings,
    /// Calls and reviews that ended in this round.
    pub statistics: Statistics,
}

impl Cascade {
    /// Writes the next tokens of a text, at most `wanted` (at least 1): one review by the target of a draft that the
    /// levels under it wrote.
    ///
    /// # Errors
    /// The target's only. [`Error::Invalid`] for a strategy that does not fit the review rule.
    pub async fn round(
        self: &Arc<Self>,
        request: &Request,
        drafting: &mut Drafting,
        wanted: usize,
    ) -> Result<Round> {
        let strategy = drafting.strategy.clone();
        if request.sampling.rule == Rule::Rejection
            && (1..=self.drafters()).any(|level| strategy.lenience(level).is_loose())
        {
            let reason = "lenience above 1 is not proven together with rejection sampling; use 1, or the coupled rule";
            return Err(Error::invalid("cascade.lenience", reason));
        }
        let began = self.clock().now();
        let resumed = drafting.ahead.is_some();
        let mut gather = self.resume(request, drafting, wanted);
        gather.complete().await;
        let mut statistics = gather.take_statistics();
        let mut audition = drafting.audition.take();
        if audition.is_none() && gather.draft.tokens.is_empty() {
            audition = gather.audition();
        }
        let drafted = gather.draft.tokens;
        let waited = self.clock().now().saturating_sub(began);

        let under_review = UnderReview {
            request,
            draft: &drafted,
            wanted,
        };
        let mut ahead = Ahead::new(self, &strategy, &under_review);
        let review = turn::review(self, &*strategy, request, 0, &drafted, false);
        let review = Audition::beside(&mut audition, self, review);
        let beside = !ahead.is_empty() && strategy.pipelined();
        let reviewed = match beside {
            true => ahead.beside(review).await,
            false => review.await,
        };
        let reviewed = reviewed.inspect_err(|error| self.note(0, error))?;
        if reviewed.tokens.is_empty() {
            return Err(Error::Internal("the target's review wrote nothing".into()));
        }
        statistics.merge(&reviewed.statistics, |level| level);
        statistics.merge(&ahead.take_statistics(), |level| level);
        if let Some(audition) = &mut audition {
            statistics.merge(&audition.take_statistics(), |level| level);
        }
        let foreseen = reviewed.tokens.split_last().and_then(|(next, accepted)| {
            let left = wanted - reviewed.tokens.len();
            let room = self.room(request.context.len() + reviewed.tokens.len(), left);
            ahead.confirm(accepted.len(), next.id, room)
        });
        strategy.wrote(&Wrote {
            tokens: reviewed.tokens.len(),
            drafted: drafted.len(),
            drafting: waited,
            resumed,
            read: reviewed.timings.rows != drafted.len() + 1,
            foreseen: beside.then_some(foreseen.is_some()),
            took: self.clock().now().saturating_sub(began),
        });
        let text = request.context.tokens().iter().copied();
        let text = text.chain(reviewed.tokens.iter().map(|token| token.id));
        drafting.audition = audition.filter(|audition| audition.goes_on(&*strategy, text));
        drafting.ahead = foreseen.filter(|_| beside);
        Ok(Round {
            tokens: reviewed.tokens,
            logprobs: reviewed.logprobs,
            drafted: drafted.len(),
            timings: reviewed.timings,
            statistics,
        })
    }

    /// The draft of this round: what was drafted ahead if it still fits the text, else nothing yet.
    fn resume(
        self: &Arc<Self>,
        request: &Request,
        drafting: &mut Drafting,
        wanted: usize,
    ) -> Gather {
        let ahead = drafting.ahead.take();
        let resumed = ahead.and_then(|ahead| ahead.resumed(request));
        resumed.unwrap_or_else(|| {
            Gather::new(
                self.clone(),
                drafting.strategy.clone(),
                request.clone(),
                0,
                self.room(request.context.len(), wanted),
            )
        })
    }

    /// The most tokens that a draft behind `context` tokens may have when `wanted` more are to be written: the target adds
    /// one of its own.
    pub(crate) fn room(&self, context: usize, wanted: usize) -> usize {
        let target = self.levels()[0].description();
        let left = target.context.saturating_sub(context + 1);
        wanted
            .saturating_sub(1)
            .min(target.rows.saturating_sub(1))
            .min(left)
    }
}
