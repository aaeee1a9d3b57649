//! A level without a model: its logits are a fixed function of the tokens before.
//!
//! For tests and measurements. Two scripted levels of one `script` agree as often as `disagreement` says, every decision
//! goes through the real review rules, and a `fault` can be planted before any call.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    BoxFuture, Description, Error, Kind, Level, Logprobs, Result, Timings, Token, Verdict,
    VerifyRequest,
    noise::{Noise, Purpose},
    review::review,
};

/// Decides before each call, numbered from 0, whether it fails and how.
pub type Fault = Arc<dyn Fn(u64) -> Option<Error> + Send + Sync>;

/// A neural level by script.
#[derive(Clone)]
pub struct ScriptedLevel {
    description: Arc<Description>,
    script: u64,
    own: u64,
    disagreement: f32,
    fault: Option<Fault>,
    calls: Arc<AtomicU64>,
}

impl ScriptedLevel {
    /// A level named `name` over `vocabulary` tokens. Levels of equal `script` share most of their logits; `own` (any
    /// number unlike the others') and `disagreement` (0: the same level; 5: hardly related) set it apart.
    pub fn new(name: &str, vocabulary: usize, script: u64, own: u64, disagreement: f32) -> Self {
        let description = Description {
            name: name.to_owned(),
            kind: Kind::Neural,
            model: format!("scripted-{script}"),
            vocabulary,
            token_map: format!("scripted-{vocabulary}"),
            context: 4096,
            rows: 64,
            dtype: "f32".into(),
            fallbacks: Vec::new(),
            device: "cpu".into(),
            exact: true,
            numerics: "scripted".into(),
            assisted: false,
            remembers: false,
            end_tokens: vec![0],
            emulation: None,
        };
        Self {
            description: Arc::new(description),
            script,
            own,
            disagreement,
            fault: None,
            calls: Arc::default(),
        }
    }

    /// Plants a fault.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Changes what the level says of itself.
    #[must_use]
    pub fn describe(mut self, change: impl FnOnce(&mut Description)) -> Self {
        change(Arc::make_mut(&mut self.description));
        self
    }

    /// Calls so far, failed ones included.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The logits after `tokens`, one for each token of the vocabulary.
    pub fn logits(&self, tokens: &[Token]) -> Vec<f32> {
        // The last few tokens decide, so that texts repeat themselves now and then.
        let tail = &tokens[tokens.len().saturating_sub(3)..];
        let place = tail.iter().fold(17usize, |hash, &token| {
            hash.wrapping_mul(31).wrapping_add(token as usize)
        });
        let shared = Noise::new(self.script, place, Purpose::Own(0));
        let own = Noise::new(self.own, place, Purpose::Own(1));
        let spread = |bits: u32| bits as f32 / u32::MAX as f32;
        let vocabulary = self.description.vocabulary as u32;
        (0..vocabulary)
            .map(|x| 6.0 * spread(shared.bits(x)) + self.disagreement * spread(own.bits(x)))
            .collect()
    }

    fn answer(&self, request: &VerifyRequest) -> Result<Verdict> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(error) = self.fault.as_ref().and_then(|fault| fault(number)) {
            return Err(error);
        }
        let mut tokens = request.call.context.tokens().to_vec();
        let len = tokens.len() + request.draft.len() + 1;
        if len > self.description.context {
            return Err(Error::ContextLength {
                len,
                limit: self.description.context,
            });
        }
        let mut logprobs = Vec::new();
        if let Some(asked) = request.logprobs {
            asked.check(tokens.len())?;
            for (position, &token) in tokens.iter().enumerate().skip(asked.from) {
                let logits = self.logits(&tokens[..position]);
                logprobs.push(Logprobs::of(&logits, token, asked.alternatives));
            }
        }
        let mut rows = vec![self.logits(&tokens)];
        for id in request.draft.ids() {
            tokens.push(id);
            rows.push(self.logits(&tokens));
        }
        let timings = Timings {
            rows: logprobs.len() + rows.len(),
            batch: logprobs.len() + rows.len(),
            ..Timings::default()
        };
        let outcome = review(
            request,
            self.description.vocabulary,
            rows.iter_mut().map(Vec::as_mut_slice),
        );
        logprobs.extend(outcome.logprobs);
        Ok(Verdict {
            accepted: outcome.accepted,
            next: outcome.next,
            probabilities: outcome.probabilities,
            runners_up: outcome.runners_up,
            logprobs,
            timings,
        })
    }
}

impl Level for ScriptedLevel {
    fn description(&self) -> Arc<Description> {
        self.description.clone()
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async move { self.answer(&request) })
    }
}
