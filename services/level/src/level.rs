//! The trait that everything else is about.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::{
    Context, Draft, Lenience, LogprobsRequest, Prospects, Result, Sampling, Tenant, Token, Verdict,
    writing::write,
};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What every call says. It carries its whole meaning, so that any replica can answer it and a retry is safe; what a
/// level remembers of earlier calls is a cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The tokens so far.
    pub context: Context,
    /// How the next one is chosen.
    pub sampling: Arc<Sampling>,
    /// A hint for finding the caches of earlier calls of the same request again.
    pub session: u64,
    /// The index of the answering level in its cascade; keeps the random streams of rejection sampling apart.
    pub stream: u8,
    /// Whose remembered texts may help with the answer; nobody's, when nothing is said.
    pub tenant: Option<Tenant>,
    /// How long the caller will wait.
    pub timeout: Duration,
}

/// Asks a level for tokens that it stands behind.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftRequest {
    /// Context and sampling.
    pub call: Call,
    /// A start threshold: the level begins another inner step while it has fewer tokens than this. At least 1.
    pub wanted: usize,
    /// The hard limit on tokens returned. At least 1.
    pub room: usize,
    /// How many tokens of the level's own in-process Max-Gram each of its reviews may have (a start threshold, too); 0 has
    /// it review none.
    pub assist: usize,
    /// Looseness of the level's reviews of its Max-Gram.
    pub lenience: Lenience,
    /// What tokens are worth: the level may then stop before it has `wanted` tokens, and leave those of its Max-Gram
    /// unreviewed that need no review, whatever `assist` says.
    pub prospects: Option<Prospects>,
}

/// Asks a level to review a draft.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyRequest {
    /// Context and sampling.
    pub call: Call,
    /// The tokens to review; empty asks for the level's own next token, and fills its cache.
    pub draft: Draft,
    /// Looseness of the review; none at the target.
    pub lenience: Lenience,
    /// Whose log-probabilities are wanted, too.
    pub logprobs: Option<LogprobsRequest>,
}

/// Tells a level of a whole text, all of it certain.
#[derive(Clone, Debug, PartialEq)]
pub struct RememberRequest {
    /// Whom it may help from now on.
    pub tenant: Tenant,
    /// Prompt and text.
    pub text: Context,
    /// How long the caller will wait.
    pub timeout: Duration,
}

/// What sort of level it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A model: reviews and drafts.
    Neural,
    /// Max-Gram: drafts only.
    Statistical,
}

/// What a level says of itself. Fixed while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Its name in the cascade: target, draft, …
    pub name: String,
    /// Model or statistical.
    pub kind: Kind,
    /// The model it serves.
    pub model: String,
    /// Real token ids: 0 to this, exclusive. Padding of the output layer beyond it is never chosen.
    pub vocabulary: usize,
    /// A fingerprint of the map from token ids to texts; equal maps can share a cascade.
    pub token_map: String,
    /// Positions that fit.
    pub context: usize,
    /// Rows of a forward that cost little more than one: the limit of a review is this minus one drafted tokens.
    pub rows: usize,
    /// The type the weights are held in, e.g. `f32`, `q8_0`.
    pub dtype: String,
    /// Tensors held in another type than `dtype`, and why.
    pub fallbacks: Vec<String>,
    /// Where it computes: cpu, cuda:0, …
    pub device: String,
    /// Whether a position's logits are bit for bit the same however many rows were computed with it.
    pub exact: bool,
    /// Levels with equal fingerprints compute equal bits.
    pub numerics: String,
    /// Whether it has a Max-Gram in its own process ([`DraftRequest::assist`]).
    pub assisted: bool,
    /// Whether it remembers texts that it is told of ([`Level::remember`]).
    pub remembers: bool,
    /// Tokens that the model's own configuration ends a text with, ascending.
    pub end_tokens: Vec<Token>,
    /// The hardware that it pretends to run on, if it does: its times are then no measure of this machine.
    pub emulation: Option<String>,
}

/// A level of a cascade.
///
/// Methods are asynchronous and free of any runtime: dropping the future cancels the call. Implementations enforce
/// [`Call::timeout`] themselves where they wait for something.
pub trait Level: Send + Sync {
    /// What it is.
    fn description(&self) -> Arc<Description>;

    /// Writes between 1 and `room` tokens, or none when it has nothing to propose.
    ///
    /// A level with nobody under it writes token by token, which is what this default does.
    ///
    /// # Errors
    /// As [`Level::verify`]; [`crate::Error::Unsupported`] when an assistant is asked for that it does not have.
    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        Box::pin(write(self, None, request))
    }

    /// Accepts the longest valid prefix of the draft and adds one token of its own.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] and [`crate::Error::ContextLength`] for requests that can never succeed here, the rest
    /// of [`crate::Error`] by what went wrong.
    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>>;

    /// Is told of a text that has ended. What a level makes of it may change how good its drafts are, and never what they
    /// mean; this default forgets it at once.
    ///
    /// # Errors
    /// As [`Level::verify`].
    fn remember(&self, _: RememberRequest) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}
