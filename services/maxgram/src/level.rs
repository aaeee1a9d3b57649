//! Max-Gram as a [`Level`]: in a process of its own, or inside a neural worker, where a proposal costs no hop.

use std::sync::{Arc, Mutex, MutexGuard};

use csd_level::{
    Assistant, BoxFuture, Call, Context, Description, Draft, DraftRequest, DraftToken, Error, Kind,
    Level, RememberRequest, Result, Rule, Statistics, Tenant, Timings, Verdict, VerifyRequest,
    elementary::ln,
};

use crate::{
    BigramError, Bigrams, Cache, Guess, Limits, Options, Recall, Remembered, Sharing, Token,
    memory::Memory, propose, recall::LONGEST,
};

/// What an operator may set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// A token with less confidence ends a proposal before it, see [`Guess::confidence`]; 0 lets everything pass.
    pub min_confidence: f32,
    /// Tokens of the longest context that is accepted.
    pub context: usize,
    /// What the cache of texts may hold.
    pub limits: Limits,
    /// How texts that have ended are remembered, if they are.
    pub sharing: Option<Sharing>,
}

impl Default for Settings {
    /// Propose whatever there is, for contexts up to 262,144 tokens, and remember no text beyond its end.
    fn default() -> Self {
        Self {
            min_confidence: 0.0,
            context: 1 << 18,
            limits: Limits::default(),
            sharing: None,
        }
    }
}

/// The statistical level.
#[derive(Debug)]
pub struct MaxGram {
    description: Arc<Description>,
    bigrams: Bigrams,
    settings: Settings,
    cache: Mutex<Cache>,
    memory: Option<Mutex<Memory>>,
}

impl MaxGram {
    /// A level for the `vocabulary` tokens of the map with the fingerprint `token_map`.
    ///
    /// # Errors
    /// [`BigramError::Token`] when the table was made for another vocabulary: it knows a successor outside this one.
    pub fn new(
        name: &str,
        vocabulary: usize,
        token_map: &str,
        bigrams: Bigrams,
        settings: Settings,
    ) -> Result<Self, BigramError> {
        bigrams.fit(vocabulary)?;
        let description = Description {
            name: name.into(),
            kind: Kind::Statistical,
            model: "max-gram".into(),
            vocabulary,
            token_map: token_map.into(),
            context: settings.context,
            rows: settings.context,
            dtype: "counts".into(),
            fallbacks: Vec::new(),
            device: "cpu".into(),
            exact: true,
            numerics: "counts".into(),
            assisted: false,
            remembers: settings.sharing.is_some(),
            end_tokens: Vec::new(),
            emulation: None,
        };
        Ok(Self {
            description: Arc::new(description),
            bigrams,
            cache: Mutex::new(Cache::new(settings.limits)),
            memory: settings.sharing.map(Memory::new).map(Mutex::new),
            settings,
        })
    }

    /// How many texts are cached, and the bytes they take.
    pub fn cached(&self) -> (usize, usize) {
        let cache = self.cache();
        (cache.len(), cache.bytes())
    }

    /// What is remembered of texts that have ended; nothing at all, unless [`Settings::sharing`] says so.
    pub fn remembered(&self) -> Remembered {
        let memory = self.memory();
        memory.map_or_else(Remembered::default, |memory| memory.reading())
    }

    /// What follows a context of known tokens.
    fn guess(&self, call: &Call, room: usize) -> Draft {
        let options = Options {
            room,
            min_confidence: self.settings.min_confidence,
            ends: call.sampling.end_tokens.clone(),
        };
        let text = call.context.tokens();
        let mut cache = self.cache();
        let (index, cached) = cache.index(text);
        let shared = tenant(call).and_then(|tenant| Some((tenant, self.memory()?)));
        let guesses = match shared {
            None => propose(index, Recall::default(), &self.bigrams, &options),
            Some((tenant, mut memory)) => {
                let recall = memory.recall(tenant, text);
                let guesses = propose(index, recall, &self.bigrams, &options);
                let found = guesses.iter().filter(|guess| guess.remembered).count();
                memory.proposed(guesses.len(), found);
                guesses
            }
        };
        let mut inner = Statistics::default();
        inner.record_calls(0, 1);
        Draft {
            tokens: guesses.iter().map(token).collect(),
            inner,
            timings: Timings {
                cached,
                ..Timings::default()
            },
        }
    }

    fn check(&self, text: &Context) -> Result<()> {
        let Description {
            vocabulary,
            context: limit,
            ..
        } = *self.description;
        let len = text.len();
        if len > limit {
            return Err(Error::ContextLength { len, limit });
        }
        let outside = |&token: &Token| token as usize >= vocabulary;
        match text.tokens().iter().position(outside) {
            None => Ok(()),
            Some(place) => Err(Error::invalid(
                format!("context.tokens[{place}]"),
                format!(
                    "{} is outside the vocabulary of {vocabulary}",
                    text.tokens()[place]
                ),
            )),
        }
    }

    /// The memory, if there is one; emptied if a panic may have left it half changed.
    fn memory(&self) -> Option<MutexGuard<'_, Memory>> {
        let (memory, sharing) = (self.memory.as_ref()?, self.settings.sharing?);
        Some(memory.lock().unwrap_or_else(|poisoned| {
            let mut guard = poisoned.into_inner();
            *guard = Memory::new(sharing);
            memory.clear_poison();
            guard
        }))
    }

    /// The cache; emptied if a panic may have left an index half changed.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(|poisoned| {
            let mut cache = poisoned.into_inner();
            *cache = Cache::new(self.settings.limits);
            self.cache.clear_poison();
            cache
        })
    }
}

impl Level for MaxGram {
    fn description(&self) -> Arc<Description> {
        self.description.clone()
    }

    /// Proposes up to `wanted` tokens; an end token closes the proposal.
    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        Box::pin(async move {
            if request.assist > 0 {
                return Err(Error::Unsupported(
                    "Max-Gram has no assistant of its own".into(),
                ));
            }
            self.check(&request.call.context)?;
            Ok(self.guess(&request.call, request.wanted.min(request.room)))
        })
    }

    /// Always [`Error::Unsupported`]: Max-Gram is the last level and has nobody to review.
    fn verify(&self, _: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async {
            Err(Error::Unsupported(
                "Max-Gram drafts only, it does not review".into(),
            ))
        })
    }

    /// Remembers the text, of its prompt no more than a match needs: the rest was read, not written.
    fn remember(&self, request: RememberRequest) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let RememberRequest { tenant, text, .. } = request;
            self.check(&text)?;
            if let Some(mut memory) = self.memory() {
                let read = text.prompt_len().saturating_sub(LONGEST);
                memory.remember(tenant, &text.tokens()[read..]);
            }
            Ok(())
        })
    }
}

impl Assistant for MaxGram {
    /// Nothing behind a context that [`Level::draft`] refuses.
    fn propose(&self, call: &Call, room: usize) -> Draft {
        match self.check(&call.context) {
            Ok(()) => self.guess(call, room),
            Err(_) => Draft::default(),
        }
    }
}

/// Whose remembered texts may help with a call. None under rejection sampling: a text that was drawn from the same noise
/// would tell what is accepted before it is drawn, and the distribution would no longer be the target's.
fn tenant(call: &Call) -> Option<Tenant> {
    call.tenant.filter(|_| call.sampling.rule == Rule::Coupled)
}

fn token(guess: &Guess) -> DraftToken {
    let confidence = f64::from(guess.confidence);
    DraftToken {
        gap: ln(confidence / (1.0 - confidence)) as f32,
        ..DraftToken::bare(guess.token, 0)
    }
}
