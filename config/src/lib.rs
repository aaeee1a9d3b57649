//! Cascade files: one TOML file describes every level of a cascade and the plan that runs over them.
//!
//! The same file serves `csd up` (which starts every level), `csd worker` (which serves one of them) and `csd serve`
//! (which connects to them). `raw` mirrors the file letter by letter and refuses unknown fields; [`cascade`] is what
//! programs use; `check` goes from one to the other: paths resolved, numbers checked, defaults filled in.
//!
//! This crate reads one file and nothing else: no environment, no network.

pub mod cascade;
mod check;
pub mod emulation;
mod raw;

pub use cascade::{Cascade, Error, Level, Limits, Memory, Plan, Source, Tls, Weights};
pub use emulation::Emulation;
