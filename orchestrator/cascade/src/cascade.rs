//! The levels of a cascade: who they are, whether they fit each other, and which of them may be used.

use std::{ops::Range, sync::Arc, time::Duration};

use csd_level::{
    Call, Clock, Context, Description, Draft, Error, Kind, Lenience, Level, Logprobs,
    LogprobsRequest, RememberRequest, Result, Timings, VerifyRequest,
};

use crate::{Gate, Request, strategy::Levels};

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
    clock: Arc<dyn Clock>,
}

impl Cascade {
    /// Puts levels together; `clock` times their calls.
    ///
    /// # Errors
    /// [`Mismatch`] when they cannot form a cascade.
    pub fn new(
        levels: Vec<Arc<dyn Level>>,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Mismatch> {
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
            clock,
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
            clock: self.clock.clone(),
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
        let call = self.call(level, request, self.limits.verify_timeout);
        let read = VerifyRequest {
            call,
            draft: Draft::default(),
            lenience: Lenience::NONE,
            logprobs: None,
        };
        let result = if neural {
            self.levels[level].verify(read).await.map(drop)
        } else {
            Ok(())
        };
        request.session.set_ready(level);
        result.inspect_err(|error| self.note(level, error))
    }

    /// What the target thinks of the tokens at `positions` of the context (the first at least 1), each given those before
    /// it: their log-probabilities, and the most likely tokens where the request asks for some.
    ///
    /// # Errors
    /// The target's.
    pub async fn score(
        &self,
        request: &Request,
        positions: Range<usize>,
    ) -> Result<(Vec<Logprobs>, Timings)> {
        let mut call = self.call(0, request, self.limits.verify_timeout);
        let tokens = request.context.tokens().iter().take(positions.end);
        call.context = Context::new(tokens.copied().collect());
        let read = VerifyRequest {
            call,
            draft: Draft::default(),
            lenience: Lenience::NONE,
            logprobs: Some(LogprobsRequest {
                alternatives: request.logprobs.unwrap_or(0),
                from: positions.start,
            }),
        };
        let verdict = self.levels[0].verify(read).await;
        let verdict = verdict.inspect_err(|error| self.note(0, error))?;
        let mut logprobs = verdict.logprobs;
        logprobs.truncate(positions.len());
        Ok((logprobs, verdict.timings))
    }

    /// Whether a level remembers texts, and is to be told of them.
    pub fn remembers(&self, level: usize) -> bool {
        self.levels[level].description().remembers
    }

    /// Tells a level of a text that has ended, if the request says whom it may help.
    ///
    /// # Errors
    /// Those of the level. They are no reason to step over it.
    pub async fn remember(&self, level: usize, request: &Request) -> Result<()> {
        let Some(tenant) = request.tenant else {
            return Ok(());
        };
        let remember = RememberRequest {
            tenant,
            text: request.context.clone(),
            timeout: self.limits.draft_timeout,
        };
        self.levels[level].remember(remember).await
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn descriptions(&self) -> Vec<Arc<Description>> {
        self.levels
            .iter()
            .map(|level| level.description())
            .collect()
    }

    pub(crate) fn call(&self, level: usize, request: &Request, timeout: Duration) -> Call {
        Call {
            context: request.context.clone(),
            sampling: request.sampling.clone(),
            session: request.session.id(),
            stream: level as u8,
            tenant: request.tenant.filter(|_| self.remembers(level)),
            timeout,
        }
    }

    /// The levels that a request may ask now.
    pub(crate) fn usable(&self, request: &Request) -> Levels {
        let usable =
            |level: &usize| self.gates[*level].is_open() && request.session.is_ready(*level);
        (0..self.levels.len()).filter(usable).collect()
    }

    /// Closes the gate of a level that failed by its own fault: a target that was slow once is no reason to turn other
    /// texts away.
    pub(crate) fn note(&self, level: usize, error: &Error) {
        if error.puts_aside(level == 0, true) && self.gates[level].close() {
            let name = &self.levels[level].description().name;
            tracing::warn!(level = %name, %error, "stepping over a level that failed");
        }
    }
}
