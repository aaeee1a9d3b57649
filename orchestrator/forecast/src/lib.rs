//! What a cascade would do: from a recording of one, by formula and by simulation.
//!
//! In reading order:
//!
//! - [`trace`]: the recording: texts, what each level would have written at each of their positions, what its calls cost
//! - [`lineup`]: the levels under consideration
//! - [`what_if`]: a level more, a level less, or one on another host
//! - [`setting`]: the ways to use a lineup that formulas can speak of, and the plan of each
//! - [`formula`]: the expected speed of a setting, by the paper's formulas
//! - [`replay`], [`simulation`]: the real cascade over levels that repeat what was recorded, on virtual time
//! - [`forecast`]: the best of all settings, both ways; beside what was measured; and whether a change pays
//!
//! Nothing here opens a file, loads a model or reads a clock.

pub mod forecast;
pub mod formula;
pub mod lineup;
pub mod replay;
pub mod setting;
pub mod simulation;
pub mod trace;
pub mod what_if;

pub use forecast::{Check, Forecast, Verdict};
pub use lineup::Lineup;
pub use trace::Trace;
pub use what_if::WhatIf;
