//! What a level of a cascade is.
//!
//! A *level* reviews drafted tokens, and may draft some itself. The target model, every neural drafter and Max-Gram
//! are levels; so is a remote worker, seen through a network, and a scripted one, seen from a test. Everything that
//! must be decided identically at every level, whatever engine or machine it runs on, is decided here.
//!
//! In reading order:
//!
//! - [`context`], [`sampling`], [`tenant`]: what a caller says: the tokens so far, how the next one is to be chosen, and
//!   whose text it is
//! - [`draft`], [`verdict`], [`statistics`]: what a level answers, and what is counted on the way
//! - [`level`], [`error`]: the trait itself, and its failures by what the caller can do about them
//! - [`elementary`], [`noise`]: our own logarithm and exponential, and a counter-based source of randomness
//! - [`logits`], [`choice`]: penalties, bias, temperature and truncation, in one place and one order, and what is chosen then
//! - [`logprobs`]: what a model thinks of each token of a text, for those who ask
//! - [`prospects`], [`writing`]: when to stop a draft, and how a level writes one by itself
//! - [`review`]: the review rules: coupled sampling, rejection sampling, lenience between drafters
//! - [`scripted`]: a level without a model, for tests and measurements
//!
//! This crate never opens a socket, spawns a task, reads a clock, or draws randomness that the caller did not hand in.

pub mod choice;
pub mod clock;
pub mod context;
pub mod draft;
pub mod elementary;
pub mod error;
pub mod level;
pub mod logits;
pub mod logprobs;
pub mod noise;
pub mod prospects;
pub mod review;
pub mod sampling;
pub mod scripted;
pub mod statistics;
pub mod tenant;
pub mod verdict;
pub mod writing;

pub use clock::Clock;
pub use context::{Context, Token};
pub use draft::{Draft, DraftToken, Proposal};
pub use error::{Error, Result};
pub use level::{
    BoxFuture, Call, Description, DraftRequest, Kind, Level, RememberRequest, VerifyRequest,
};
pub use logprobs::{Logprobs, LogprobsRequest};
pub use prospects::Prospects;
pub use sampling::{Lenience, Rule, Sampling};
pub use statistics::{Pair, Statistics};
pub use tenant::Tenant;
pub use verdict::{Timings, Verdict};
pub use writing::{Assistant, Writing};
