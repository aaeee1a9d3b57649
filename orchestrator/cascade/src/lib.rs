//! The cascade: the algorithm of Chen et al., *Cascade Speculative Drafting for Even Faster LLM Inference* (arXiv
//! 2312.11462), over any levels.
//!
//! In reading order:
//!
//! - [`cascade`]: the levels, and which of them may be used ([`gate`], [`request`])
//! - [`strategy`]: the question that a draft asks before every turn: who drafts next?
//! - [`plan`]: the paper's answer: a budget per position, K, and the published settings
//! - [`planner`]: an answer that learns from what it measures
//! - `gather`: the horizontal cascade: turn by turn, larger levels first
//! - `turn`: the vertical cascade: a level writes, or reviews what the levels under it write
//! - [`round`]: a draft and the target's review
//! - `ahead`: drafting on beside the review, behind what it may say
//! - `audition`: drafting for nobody, to see whether it would pay
//!
//! Beside them, for whoever reasons about a cascade without running one: [`ewif`], the paper's formulas, and [`world`], levels on
//! virtual time.
//!
//! Nothing here knows a network, a model or a runtime, and time only as [`csd_level::Clock`]: levels are
//! [`csd_level::Level`], futures are plain, and a dropped future is a cancelled round.

mod ahead;
mod audition;
pub mod cascade;
pub mod ewif;
pub mod gate;
mod gather;
pub mod plan;
pub mod planner;
pub mod request;
pub mod round;
pub mod strategy;
mod turn;
pub mod world;

pub use cascade::{Cascade, Limits, Mismatch};
pub use gate::Gate;
pub use plan::{PRESETS, Plan};
pub use planner::{Planned, Planner};
pub use request::{Request, Session};
pub use round::{Drafting, Round};
pub use strategy::Strategy;
