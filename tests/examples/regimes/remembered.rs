//! A model that computes nothing twice.
//!
//! A token is a function of the model, the tokens before it and the sampling, whatever the plan that asks: so hundreds of
//! plans share what was computed once. What a review says is put together row by row, each known by what it stands behind.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::{Arc, Mutex, PoisonError},
};

use csd_engine::Engine;
use csd_level::{
    BoxFuture, Description, DraftToken, Lenience, Level, Result, Rule, Timings, Token, Verdict,
    VerifyRequest,
};

/// What a model says at one position.
#[derive(Clone, Default)]
struct Row {
    /// Its token, where nothing that it accepts was drafted.
    own: Option<DraftToken>,
    /// The token it accepts there, the probability of that, and what it would have written instead.
    accepts: Option<(Token, f32, Option<Token>)>,
}

/// A model whose answers take no time: whoever asks waits for them.
pub(crate) struct Remembered {
    engine: Engine,
    description: Arc<Description>,
    rows: Mutex<HashMap<u64, Row>>,
}

impl Remembered {
    pub(crate) fn new(engine: Engine, description: Description) -> Self {
        Self {
            engine,
            description: Arc::new(description),
            rows: Mutex::default(),
        }
    }

    /// Names each row of a review by all that decides it.
    fn keys(request: &VerifyRequest) -> Vec<u64> {
        let sampling = &request.call.sampling;
        let mut hasher = DefaultHasher::new();
        (sampling.temperature.to_bits(), sampling.seed).hash(&mut hasher);
        sampling.end_tokens.hash(&mut hasher);
        for token in request.call.context.tokens() {
            hasher.write_u32(*token);
        }
        let mut keys = vec![hasher.finish()];
        for token in &request.draft.tokens {
            hasher.write_u32(token.id);
            keys.push(hasher.finish());
        }
        keys
    }

    /// The verdict, if every row of it is known.
    fn recall(&self, request: &VerifyRequest, keys: &[u64]) -> Option<Verdict> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut verdict = Verdict {
            accepted: 0,
            next: None,
            probabilities: Vec::new(),
            runners_up: Vec::new(),
            logprobs: Vec::new(),
            timings: Timings::default(),
        };
        for (key, drafted) in keys.iter().zip(&request.draft.tokens) {
            let row = rows.get(key)?;
            let Some((accepted, probability, runner_up)) =
                row.accepts.filter(|(token, ..)| *token == drafted.id)
            else {
                let own = row.own.clone()?;
                return (own.id != drafted.id).then_some(Verdict {
                    next: Some(own),
                    ..verdict
                });
            };
            verdict.accepted += 1;
            verdict.probabilities.push(probability);
            verdict.runners_up.push(runner_up);
            if request.call.sampling.is_end(accepted) {
                return Some(verdict);
            }
        }
        let next = rows.get(keys.last()?)?.own.clone()?;
        Some(Verdict {
            next: Some(next),
            ..verdict
        })
    }

    fn remember(&self, request: &VerifyRequest, keys: &[u64], verdict: &Verdict) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let judged = verdict.probabilities.iter().zip(&verdict.runners_up);
        for ((key, token), (&probability, &runner_up)) in
            keys.iter().zip(&request.draft.tokens).zip(judged)
        {
            rows.entry(*key).or_default().accepts = Some((token.id, probability, runner_up));
        }
        if let (Some(next), Some(key)) = (&verdict.next, keys.get(verdict.accepted)) {
            rows.entry(*key).or_default().own = Some(next.clone());
        }
    }
}

impl Level for Remembered {
    fn description(&self) -> Arc<Description> {
        self.description.clone()
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        let sampling = &request.call.sampling;
        let decided_by_row = request.lenience == Lenience::NONE
            && request.logprobs.is_none()
            && sampling.rule == Rule::Coupled
            && !sampling.has_penalties();
        if !decided_by_row {
            return self.engine.verify(request);
        }
        let keys = Self::keys(&request);
        if let Some(verdict) = self.recall(&request, &keys) {
            return Box::pin(async { Ok(verdict) });
        }
        let verdict = pollster::block_on(self.engine.verify(request.clone()));
        if let Ok(verdict) = &verdict {
            self.remember(&request, &keys, verdict);
        }
        Box::pin(async { verdict })
    }
}
