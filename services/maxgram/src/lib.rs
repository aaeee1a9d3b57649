//! Max-Gram (MaG), the statistical level: it proposes what followed the longest suffix of the context when that suffix
//! occurred before, and falls back to a table of bigrams where nothing did.
//!
//! From Chen et al., *Cascade Speculative Drafting for Even Faster LLM Inference* (arXiv 2312.11462), whose reference
//! searches in O(n²) and takes the first match; here a token costs amortised O(1) and the best-supported continuation
//! wins. Compare SuffixDecoding (arXiv 2411.04975), which bounds the match and keeps suffix trees across requests; texts of
//! other requests are remembered here, too, where an operator says so.
//!
//! In reading order:
//! - [`Index`]: a suffix automaton over one text that counts continuations and can be cut back ([`Index::cut`]);
//! - [`propose`]: the walk that turns an index into a proposal, and the confidence of each token;
//! - [`Bigrams`]: the fallback table and its file;
//! - [`Cache`]: the indexes of the texts seen last, found again by longest common prefix;
//! - `memory`, [`Recall`]: texts that have ended, tenant by tenant, and what is found in them for a proposal;
//! - [`MaxGram`]: all of it as a [`csd_level::Level`].
//!
//! The crate never reads a clock, starts a thread, draws a random number or waits: the same calls give the same answers.

mod bigram;
mod cache;
mod hash;
mod index;
mod journal;
mod level;
mod memory;
mod proposal;
mod recall;

pub use bigram::{BigramError, Bigrams};
pub use cache::{Cache, Limits};
pub use index::{COUNT_LIMIT, Continuation, Index, Match};
pub use level::{MaxGram, Settings};
pub use memory::{Remembered, Sharing};
pub use proposal::{Guess, Options, propose};
pub use recall::Recall;

pub use csd_level::Token;
