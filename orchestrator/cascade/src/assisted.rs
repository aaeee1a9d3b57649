//! A whole turn of one level inside one Draft call.
//!
//! The cascade's recursion for a level that uses nobody but its own Max-Gram: run where the model is, it costs one hop
//! a turn instead of one a token.

use csd_level::{
    Draft, DraftRequest, Lenience, Level, Proposal, Result, VerifyRequest, elementary::log_odds,
};

/// Writes at least `request.wanted` tokens (unless the text ends or `request.room` is less): while there are fewer,
/// `assistant` proposes `request.assist` tokens and `level` reviews them. Authors: 0 the level, 1 the assistant.
///
/// # Errors
/// Those of `level`. An assistant that fails only proposes nothing.
pub async fn draft(
    level: &dyn Level,
    assistant: &dyn Level,
    request: DraftRequest,
) -> Result<Draft> {
    let DraftRequest {
        mut call,
        wanted,
        room,
        assist,
        lenience,
    } = request;
    let rows = level.description().rows.max(1);
    let mut written = Draft::default();
    while written.len() < wanted.min(room) {
        let proposal_room = (room - 1 - written.len()).min(rows - 1);
        let mut proposed = Draft::default();
        if assist.min(proposal_room) > 0 {
            let ask = DraftRequest {
                call: call.clone(),
                wanted: assist.min(proposal_room),
                room: assist.min(proposal_room),
                assist: 0,
                lenience: Lenience::NONE,
            };
            proposed = assistant.draft(ask).await.unwrap_or_default();
            written.timings.add(proposed.timings);
            proposed.tokens.truncate(proposal_room);
        }
        for token in &mut proposed.tokens {
            token.author = 1;
        }
        written.inner.merge(&proposed.inner, |_| 1);
        let review = VerifyRequest {
            call: call.clone(),
            draft: proposed,
            lenience,
            logprobs: None,
        };
        let mut proposed = review.draft.tokens.clone();
        let verdict = level.verify(review).await?;
        written.inner.record_calls(0, 1);
        written.inner.record_review(0, &proposed, verdict.accepted);
        written.timings.add(verdict.timings);
        proposed.truncate(verdict.accepted);
        for (token, &probability) in proposed.iter_mut().zip(&verdict.probabilities) {
            token.reviewers |= 1;
            token.gap = log_odds(probability);
        }
        proposed.extend(verdict.next);
        call.context.extend(proposed.iter().map(|token| token.id));
        written.tokens.extend(proposed);
        let Some(last) = written.tokens.last() else {
            break;
        };
        if call.sampling.is_end(last.id) {
            break;
        }
    }
    // How a draft came about with an assistant is not a distribution that anyone could name.
    for token in &mut written.tokens {
        token.proposal = Proposal::OneHot;
    }
    Ok(written)
}
