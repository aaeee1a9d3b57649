//! The horizontal cascade: a draft that levels extend turn by turn, larger ones first, until it is worth a review.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use csd_level::{BoxFuture, Description, DraftToken, Result, Rule, Statistics, Token};
use csd_names as names;
use tracing::{Instrument as _, Span, field::Empty};

use crate::{
    Cascade, Request, Strategy,
    audition::Audition,
    strategy::{Levels, Manner, Situation, Turn, Worth},
    turn::{self, Written},
};

/// A draft in the making for one reviewer.
pub(crate) struct Gather {
    cascade: Arc<Cascade>,
    strategy: Arc<dyn Strategy>,
    request: Request,
    reviewer: usize,
    /// The most tokens that the draft may have, a guess not among them.
    room: usize,
    /// Whether the first token is a guess at one that the target is about to add itself.
    guessing: bool,
    worth: Worth,
    /// Where it is written beside the target's review: until when, on the cascade's clock, it hides behind that.
    beside: Option<Duration>,
    /// The tokens, and what was counted for them.
    pub(crate) draft: Written,
    ended: Levels,
    /// The turn that is being taken.
    turn: Option<(usize, BoxFuture<'static, Result<Written>>)>,
    /// A token that the text has gained since that turn began, which the turn may or may not have foreseen.
    owed: Option<Token>,
}

impl Gather {
    /// An empty draft of at most `room` tokens for level `reviewer`, to stand behind the context of `request`.
    pub(crate) fn new(
        cascade: Arc<Cascade>,
        strategy: Arc<dyn Strategy>,
        request: Request,
        reviewer: usize,
        room: usize,
    ) -> Self {
        Self {
            cascade,
            strategy,
            request,
            reviewer,
            room,
            guessing: false,
            worth: Worth::TEXT,
            beside: None,
            draft: Written::default(),
            ended: Levels::default(),
            turn: None,
            owed: None,
        }
    }

    /// The same draft, worth this once its reviewer has let it pass.
    pub(crate) fn worth(self, worth: Worth) -> Self {
        Self { worth, ..self }
    }

    /// The same draft, written beside the target's review until then, if beside one.
    pub(crate) fn beside(self, until: Option<Duration>) -> Self {
        Self {
            beside: until,
            ..self
        }
    }

    /// The same draft, to stand behind one more token, which is unknown: the first one drafted is a guess at it.
    pub(crate) fn guessing(self) -> Self {
        Self {
            guessing: true,
            ..self
        }
    }

    /// Drafts until the strategy wants a review.
    pub(crate) async fn complete(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    /// Drafts as far as it goes without waiting. Ready when nothing more is to be drafted.
    pub(crate) fn poll(&mut self, context: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            if self.turn.is_none() && !self.begin() {
                return Poll::Ready(());
            }
            let Some((level, turn)) = &mut self.turn else {
                return Poll::Ready(());
            };
            let (level, Poll::Ready(outcome)) = (*level, turn.as_mut().poll(context)) else {
                return Poll::Pending;
            };
            self.turn = None;
            let owed = self.owed.take();
            self.request.context.extend(owed);
            match outcome {
                Ok(more) => self.add(level, more, owed),
                Err(error) => {
                    self.cascade.note(level, &error);
                    self.ended.insert(level);
                }
            }
        }
    }

    /// Adds what a turn wrote; where the text has gained `owed` since it began, only what follows that very token.
    fn add(&mut self, level: usize, more: Written, owed: Option<Token>) {
        self.draft.statistics.merge(&more.statistics, |level| level);
        let mut tokens = more.tokens.as_slice();
        if let Some(owed) = owed {
            tokens = match tokens.split_first() {
                Some((guess, rest)) if self.judge(guess, owed) => rest,
                _ => return,
            };
        }
        let levels = self.cascade.descriptions();
        let room = self.room + usize::from(self.guessing);
        let fit = tokens
            .len()
            .min(room.saturating_sub(self.draft.tokens.len()));
        let kept = self
            .strategy
            .keep(&self.situation(&levels), level, &tokens[..fit]);
        self.draft
            .tokens
            .extend_from_slice(&tokens[..kept.min(fit)]);
        if kept > 0 {
            // Behind other tokens, those below may know more than they did.
            self.ended.remove_below(level);
        } else if owed.is_none() {
            self.ended.insert(level);
        }
    }

    /// The target has accepted everything before this draft and added `token`: what was drafted behind that very token
    /// stays, the rest goes. A turn that is being taken goes on while it may still turn out right; false when the text
    /// went another way.
    pub(crate) fn confirm(&mut self, token: Token, room: usize) -> bool {
        self.room = room;
        self.guessing = false;
        match self.draft.tokens.first() {
            Some(guess) if !self.judge(guess, token) => return false,
            Some(_) => drop(self.draft.tokens.remove(0)),
            None if self.turn.is_some() => {
                self.owed = Some(token);
                return true;
            }
            None => {}
        }
        self.request.context.extend([token]);
        true
    }

    /// Whether the target has added what was guessed; the strategy is told.
    fn judge(&self, guess: &DraftToken, token: Token) -> bool {
        let right = guess.id == token;
        self.strategy.guessed(guess, right);
        right
    }

    /// The draft as a strategy sees it: without the guess, which is not for review.
    fn situation<'a>(&'a self, levels: &'a [Arc<Description>]) -> Situation<'a> {
        let draft = self.draft.tokens.as_slice();
        let draft = if self.guessing {
            draft.get(1..).unwrap_or_default()
        } else {
            draft
        };
        let now = self.cascade.clock().now();
        let hidden = self.beside.map(|until| until.saturating_sub(now));
        Situation {
            levels,
            usable: self.cascade.usable(&self.request),
            ended: self.ended,
            reviewer: self.reviewer,
            context: self.request.context.len(),
            draft,
            room: self.room.saturating_sub(draft.len()),
            worth: self.worth,
            ahead: self.beside.is_some(),
            hidden: hidden.unwrap_or_default(),
            guessing: self.guesses(),
        }
    }

    /// Whether the next token is a guess.
    fn guesses(&self) -> bool {
        self.guessing && self.draft.tokens.is_empty()
    }

    fn begin(&mut self) -> bool {
        let ends = |token: &DraftToken| self.request.sampling.is_end(token.id);
        let levels = self.cascade.descriptions();
        let situation = self.situation(&levels);
        if situation.room == 0 || self.draft.tokens.last().is_some_and(ends) {
            return false;
        }
        let Some(mut next) = self.strategy.next(&situation) else {
            return false;
        };
        if self.guesses() {
            (next.wanted, next.room) = (next.wanted + 1, next.room + 1);
        }
        let span = self.span(&levels, &next, self.beside.is_some());
        let mut request = self.request.clone();
        request.context.extend(self.draft.ids());
        let (cascade, strategy) = (self.cascade.clone(), self.strategy.clone());
        let turn = turn::take(cascade, strategy, request, next, self.beside);
        let turn = async move {
            let written = turn.instrument(span.clone()).await?;
            span.record(names::DRAFT_TOKENS, names::count(written.tokens.len()));
            Ok(written)
        };
        self.turn = Some((next.level, Box::pin(turn)));
        true
    }

    fn span(&self, levels: &[Arc<Description>], next: &Turn, ahead: bool) -> Span {
        let (drafter, reviewer) = (&levels[next.level].name, &levels[self.reviewer].name);
        let manner = match next.manner {
            Manner::Write { assist: 0, .. } => "alone",
            Manner::Write { .. } => "assisted",
            Manner::Review { .. } => "cascade",
        };
        tracing::info_span!(
            names::DRAFT_SPAN,
            { names::OTEL_NAME } = names::draft_by(drafter, reviewer),
            { names::LEVEL } = %drafter,
            { names::REVIEWER } = %reviewer,
            { names::MANNER } = manner,
            { names::WANTED } = names::count(next.wanted),
            { names::ROOM } = names::count(next.room),
            { names::AHEAD } = ahead,
            { names::DRAFT_TOKENS } = Empty,
        )
    }

    /// A turn that the strategy wants to be taken for nobody. Only where a token that passes is the target's own can the
    /// text say what would have passed.
    pub(crate) fn audition(&self) -> Option<Audition> {
        if self.request.sampling.rule == Rule::Rejection {
            return None;
        }
        let levels = self.cascade.descriptions();
        let situation = self.situation(&levels);
        let next = (situation.room > 0).then(|| self.strategy.audition(&situation))??;
        let span = self.span(&levels, &next, true);
        let (cascade, strategy) = (self.cascade.clone(), self.strategy.clone());
        let turn = turn::take(
            cascade,
            strategy,
            self.request.clone(),
            next,
            Some(Duration::ZERO),
        );
        let begins = self.request.context.len();
        Some(Audition::new(
            next.level,
            begins,
            Box::pin(turn.instrument(span)),
        ))
    }

    /// Goes on with what was drafted ahead, if the text has become what was foreseen.
    pub(crate) fn resumed(mut self, request: &Request) -> Option<Self> {
        let mut foreseen = self.request.context.clone();
        foreseen.extend(self.owed);
        self.request.session = request.session.clone();
        self.beside = None;
        (foreseen == request.context).then_some(self)
    }

    /// What was counted since this was asked last.
    pub(crate) fn take_statistics(&mut self) -> Statistics {
        std::mem::take(&mut self.draft.statistics)
    }
}
