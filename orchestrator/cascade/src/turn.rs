//! The vertical cascade: one turn of a drafter, which writes by itself or reviews what the levels under it write.

use std::{sync::Arc, time::Duration};

use csd_level::{
    Draft, DraftRequest, DraftToken, Error, Logprobs, LogprobsRequest, Proposal, Prospects, Result,
    Statistics, Timings, Token, Verdict, VerifyRequest,
};
use csd_names as names;
use tracing::{Instrument as _, field::Empty};

use crate::{
    Cascade, Request, Strategy,
    gather::Gather,
    strategy::{Drafted, Manner, Reviewed, Turn},
};

/// Tokens on their way up, and what was counted for them.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) tokens: Vec<DraftToken>,
    pub(crate) statistics: Statistics,
    /// What the target thinks of each token that its review let stand, if the request asks.
    pub(crate) logprobs: Vec<Logprobs>,
    /// Of the review, if there was one.
    pub(crate) timings: Timings,
}

impl Written {
    /// The token ids alone.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Token> + '_ {
        self.tokens.iter().map(|token| token.id)
    }
}

/// Takes a turn: at most `turn.room` tokens that the level stands behind, to follow the context of `request`. `beside`: the
/// target reviews, and drafting hides behind that until the clock shows this.
///
/// # Errors
/// Those of the level, when it leaves nothing worth the next reviewer's look.
pub(crate) async fn take(
    cascade: Arc<Cascade>,
    strategy: Arc<dyn Strategy>,
    request: Request,
    turn: Turn,
    beside: Option<Duration>,
) -> Result<Written> {
    let description = cascade.levels()[turn.level].description();
    let left = description.context.saturating_sub(request.context.len());
    let room = turn.room.min(left);
    if room == 0 {
        return Ok(Written::default());
    }
    match turn.manner {
        Manner::Write { assist, prospects } => {
            let ask = Ask {
                wanted: turn.wanted,
                room,
                assist,
                prospects,
                beside: beside.is_some(),
            };
            write(&cascade, &*strategy, &request, turn.level, ask).await
        }
        Manner::Review { worth } => {
            let room = (room - 1).min(description.rows.saturating_sub(1));
            // The level's own review has to hide as well.
            let own = strategy.expected_review(turn.level, turn.wanted + 1);
            let mut gather = Gather::new(
                cascade.clone(),
                strategy.clone(),
                request.clone(),
                turn.level,
                room,
            )
            .worth(worth)
            .beside(beside.map(|until| until.saturating_sub(own)));
            gather.complete().await;
            let drafted = gather.draft;
            let (level, beside) = (turn.level, beside.is_some());
            match review(
                &cascade,
                &*strategy,
                &request,
                level,
                &drafted.tokens,
                beside,
            )
            .await
            {
                Ok(mut reviewed) => {
                    let counted = &drafted.statistics;
                    reviewed.statistics.merge(counted, |level| level);
                    Ok(reviewed)
                }
                // Unreviewed, the draft is still worth the next reviewer's look.
                Err(error) if !drafted.tokens.is_empty() => {
                    cascade.note(turn.level, &error);
                    Ok(drafted)
                }
                Err(error) => Err(error),
            }
        }
    }
}

/// How much a level is to write, and how.
struct Ask {
    wanted: usize,
    room: usize,
    assist: usize,
    prospects: Option<Prospects>,
    beside: bool,
}

/// A Draft call.
async fn write(
    cascade: &Cascade,
    strategy: &dyn Strategy,
    request: &Request,
    level: usize,
    ask: Ask,
) -> Result<Written> {
    let Ask {
        room,
        assist,
        beside,
        ..
    } = ask;
    let ask = DraftRequest {
        call: cascade.call(level, request, cascade.limits().draft_timeout),
        wanted: ask.wanted.min(room),
        room,
        assist,
        lenience: strategy.lenience(level),
        prospects: ask.prospects,
    };
    let answer = async {
        let draft = cascade.levels()[level].draft(ask).await?;
        within("tokens were written", draft.len(), room)?;
        Ok(draft)
    };
    let (draft, took) = timed(cascade, strategy, level, answer).await?;
    strategy.drafted(&Drafted {
        level,
        assist,
        tokens: &draft.tokens,
        forwards: draft.inner.calls_of(0),
        took,
        timings: draft.timings,
        beside,
    });
    Ok(adopt(level, cascade.drafters(), draft))
}

/// A Verify call to a level, beside the target's review or not: the accepted prefix, marked as reviewed, and the reviewer's
/// own token.
pub(crate) async fn review(
    cascade: &Cascade,
    strategy: &dyn Strategy,
    request: &Request,
    level: usize,
    tokens: &[DraftToken],
    beside: bool,
) -> Result<Written> {
    let (timeout, lenience) = match level {
        0 => (cascade.limits().verify_timeout, csd_level::Lenience::NONE),
        _ => (cascade.limits().draft_timeout, strategy.lenience(level)),
    };
    let wanted = request.logprobs.filter(|_| level == 0);
    let ask = VerifyRequest {
        call: cascade.call(level, request, timeout),
        draft: Draft {
            tokens: tokens.to_vec(),
            ..Draft::default()
        },
        lenience,
        logprobs: wanted.map(|alternatives| LogprobsRequest {
            alternatives,
            from: request.context.len(),
        }),
    };
    let name = &cascade.levels()[level].description().name;
    let span = tracing::info_span!(
        names::REVIEW_SPAN,
        { names::OTEL_NAME } = names::review_by(name),
        { names::LEVEL } = %name,
        { names::DRAFT_TOKENS } = names::count(tokens.len()),
        { names::ACCEPTED_TOKENS } = Empty,
    );
    let answer = async {
        let verdict = cascade.levels()[level].verify(ask).await?;
        within("tokens were accepted", verdict.accepted, tokens.len())?;
        Ok(verdict)
    };
    let answer = answer.instrument(span.clone());
    let (verdict, took) = timed(cascade, strategy, level, answer).await?;
    span.record(names::ACCEPTED_TOKENS, names::count(verdict.accepted));
    strategy.reviewed(&Reviewed {
        level,
        draft: tokens,
        accepted: verdict.accepted,
        took,
        timings: verdict.timings,
        beside,
    });
    Ok(conclude(level, tokens, verdict))
}

/// An answer and how long it took; the strategy is told of a failure.
async fn timed<T>(
    cascade: &Cascade,
    strategy: &dyn Strategy,
    level: usize,
    answer: impl Future<Output = Result<T>>,
) -> Result<(T, Duration)> {
    let began = cascade.clock().now();
    let answer = answer.await;
    let took = cascade.clock().now().saturating_sub(began);
    match answer {
        Ok(answer) => Ok((answer, took)),
        Err(error) => {
            strategy.failed(level, took);
            Err(error)
        }
    }
}

/// Answers are checked, not believed.
fn within(what: &str, count: usize, most: usize) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    Err(Error::Internal(format!(
        "{count} {what}, at most {most} could be"
    )))
}

/// Renumbers a level's own draft into the cascade's numbering: its 0 is `level`, its 1 the last level.
fn adopt(level: usize, last: usize, draft: Draft) -> Written {
    let number = |inner: u8| if inner == 0 { level as u8 } else { last as u8 };
    let mut adopted = Written {
        tokens: draft.tokens,
        ..Written::default()
    };
    adopted.statistics.merge(&draft.inner, number);
    for token in &mut adopted.tokens {
        token.author = number(token.author);
        let accepted_by = |bit: u8| token.reviewers >> bit & 1;
        token.reviewers = accepted_by(0) << number(0) | accepted_by(1) << number(1);
    }
    adopted
}

fn conclude(level: usize, draft: &[DraftToken], verdict: Verdict) -> Written {
    let mut statistics = Statistics::default();
    statistics.record_calls(level as u8, 1);
    statistics.record_review(level as u8, draft, verdict.accepted);
    let mut tokens = draft[..verdict.accepted].to_vec();
    verdict.stand_behind(&mut tokens);
    for token in &mut tokens {
        token.reviewers |= 1 << level;
        token.proposal = Proposal::OneHot;
    }
    tokens.extend(verdict.next.map(|mut next| {
        next.author = level as u8;
        if !draft.is_empty() {
            next.proposal = Proposal::OneHot;
            next.reviewers |= 1 << level;
        }
        next
    }));
    Written {
        tokens,
        statistics,
        logprobs: verdict.logprobs,
        timings: verdict.timings,
    }
}
