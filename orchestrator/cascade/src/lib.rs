//! The cascade: the algorithm of Chen et al., *Cascade Speculative Drafting for Even Faster LLM Inference* (arXiv
//! 2312.11462), over any levels.
//!
//! In reading order:
//!
//! - [`plan`]: the budget per position, K, and the published settings
//! - [`cascade`]: one round: the horizontal loop, the vertical recursion, the target's review
//! - [`assisted`]: the same recursion for a level that needs only its own Max-Gram, run inside one Draft call
//! - [`gate`], [`request`]: drafters are best effort: which of them a round may use
//!
//! Nothing here knows a network, a model, a clock or a runtime: levels are [`csd_level::Level`], futures are plain, and a
//! dropped future is a cancelled round.

pub mod assisted;
pub mod cascade;
pub mod gate;
pub mod plan;
pub mod request;

pub use cascade::{Cascade, Limits, Mismatch, Round};
pub use gate::Gate;
pub use plan::{PRESETS, Plan};
pub use request::{Request, Session};
