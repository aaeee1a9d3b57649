//! How a level writes a draft by itself: token by token, or by reviewing what its own Max-Gram proposes.
//!
//! The cascade's recursion for a level that uses nobody but its Max-Gram: run where the model is, it costs one hop a turn
//! and not one a token. It is a state machine, so that whoever computes reviews can take the next step at once.

use crate::{
    Call, Draft, DraftRequest, DraftToken, Error, Level, Proposal, Prospects, Result, Verdict,
    VerifyRequest, prospects::band,
};

/// A Max-Gram in the level's own process: it proposes at once.
pub trait Assistant: Send + Sync + std::fmt::Debug {
    /// At most `room` tokens to follow a context. None when there is nothing to propose.
    fn propose(&self, call: &Call, room: usize) -> Draft;
}

/// A draft in the making. Authors: 0 the level, 1 its assistant.
#[derive(Debug)]
pub struct Writing {
    request: DraftRequest,
    /// Rows of a review.
    rows: usize,
    written: Draft,
    /// What is being reviewed.
    proposed: Vec<DraftToken>,
    /// The chance that everything written passes, as far as the request tells.
    survival: f32,
    /// Whether the text has ended.
    ended: bool,
}

impl Writing {
    /// Nothing is written yet. A level of so many `rows` writes at least `request.wanted` tokens, unless the text ends,
    /// `request.room` is less, or the request's prospects say that more would not pay; then, what its assistant is sure of.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when an assistant is asked for that the level does not have.
    pub fn new(request: DraftRequest, rows: usize, assisted: bool) -> Result<Self> {
        if request.assist > 0 && !assisted {
            return Err(Error::Unsupported(
                "this level has no Max-Gram in its process".into(),
            ));
        }
        Ok(Self {
            request,
            rows: rows.max(1),
            written: Draft::default(),
            proposed: Vec::new(),
            survival: 1.0,
            ended: false,
        })
    }

    /// The next review that the level has to compute; nothing when the draft is done.
    pub fn step(&mut self, assistant: Option<&dyn Assistant>) -> Option<VerifyRequest> {
        loop {
            let DraftRequest { wanted, room, .. } = self.request;
            if self.ended || self.written.len() >= room {
                return None;
            }
            let enough = self.written.len() >= wanted;
            // The level adds a token of its own.
            let reviewed = (room - 1 - self.written.len()).min(self.rows - 1);
            let reviewed = if enough {
                0
            } else {
                reviewed.min(self.request.assist)
            };
            let mut tokens =
                assistant.map_or_else(Vec::new, |assistant| self.ask(assistant, reviewed));
            if let Some(prospects) = self.request.prospects {
                let kept = self.certain(&prospects, &tokens);
                if kept > 0 {
                    tokens.truncate(kept);
                    self.add(tokens);
                    continue;
                }
                if !prospects.pays(self.written.len(), self.survival) {
                    return None;
                }
            }
            if enough {
                return None;
            }
            tokens.truncate(reviewed);
            self.proposed.clone_from(&tokens);
            return Some(VerifyRequest {
                call: self.request.call.clone(),
                draft: Draft {
                    tokens,
                    ..Draft::default()
                },
                lenience: self.request.lenience,
                logprobs: None,
            });
        }
    }

    /// What the assistant knows: `reviewed` tokens, or as many as fit where some may stay without a review.
    fn ask(&mut self, assistant: &dyn Assistant, reviewed: usize) -> Vec<DraftToken> {
        let room = match &self.request.prospects {
            Some(prospects) if prospects.trusts_assistant() => {
                self.request.room - self.written.len()
            }
            _ => reviewed,
        };
        if room == 0 {
            return Vec::new();
        }
        let mut proposal = assistant.propose(&self.request.call, room);
        self.written.timings.add(proposal.timings);
        self.written.inner.merge(&proposal.inner, |_| 1);
        proposal.tokens.truncate(room);
        for token in &mut proposal.tokens {
            token.author = 1;
        }
        proposal.tokens
    }

    /// How many of the assistant's tokens need no review.
    fn certain(&self, prospects: &Prospects, tokens: &[DraftToken]) -> usize {
        let mut survival = self.survival;
        let keeps = |(behind, token): &(usize, &DraftToken)| {
            let keeps = prospects.keeps(*behind, survival, token.gap);
            survival *= prospects.assistant[band(token.gap)];
            keeps
        };
        let places = self.written.len()..;
        places.zip(tokens).take_while(keeps).count()
    }

    /// The review that [`Writing::step`] asked for.
    pub fn reviewed(&mut self, verdict: Verdict) {
        let mut tokens = std::mem::take(&mut self.proposed);
        let accepted = verdict.accepted.min(tokens.len());
        self.written.inner.record_calls(0, 1);
        self.written.inner.record_review(0, &tokens, accepted);
        self.written.timings.add(verdict.timings);
        tokens.truncate(accepted);
        verdict.stand_behind(&mut tokens);
        for token in &mut tokens {
            token.reviewers |= 1;
        }
        tokens.extend(verdict.next);
        self.add(tokens);
    }

    /// Tokens join the draft, as far as they are worth their rows.
    fn add(&mut self, mut tokens: Vec<DraftToken>) {
        let all = tokens.len();
        if let Some(prospects) = &self.request.prospects {
            let stays = |(behind, token): &(usize, &DraftToken)| {
                let bare = token.author == 1 && token.reviewers == 0;
                let chances = if bare {
                    &prospects.assistant
                } else {
                    &prospects.own
                };
                self.survival *= chances[band(token.gap)];
                self.survival >= prospects.row(*behind)
            };
            let places = self.written.len()..;
            let stay = places.zip(&tokens).take_while(stays).count();
            tokens.truncate(stay);
        }
        let Call {
            context, sampling, ..
        } = &mut self.request.call;
        // A review that adds nothing would only be asked for again, and nothing follows a token that is left out.
        let ends = tokens.last().is_none_or(|last| sampling.is_end(last.id));
        self.ended = ends || tokens.len() < all;
        context.extend(tokens.iter().map(|token| token.id));
        self.written.tokens.extend(tokens);
    }

    /// The draft.
    pub fn finish(mut self) -> Draft {
        if self.request.assist > 0 {
            // How a draft came about with reviews of an assistant is not a distribution that anyone could name.
            for token in &mut self.written.tokens {
                token.proposal = Proposal::OneHot;
            }
        }
        self.written
    }
}

/// Has a level write a draft, review by review.
///
/// # Errors
/// Those of [`Writing::new`] and of the level.
pub async fn write<L: Level + ?Sized>(
    level: &L,
    assistant: Option<&dyn Assistant>,
    request: DraftRequest,
) -> Result<Draft> {
    let rows = level.description().rows;
    let mut writing = Writing::new(request, rows, assistant.is_some())?;
    while let Some(review) = writing.step(assistant) {
        writing.reviewed(level.verify(review).await?);
    }
    Ok(writing.finish())
}
