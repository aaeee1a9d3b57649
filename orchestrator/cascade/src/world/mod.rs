//! A world whose time passes only while everyone waits: minutes of drafting and reviewing are computed in milliseconds,
//! and always the same.
//!
//! The cascade is the real one; only its levels' time is not: `time` is the clock, `timed` a level whose calls take what
//! they are said to take, on a host that computes one forward at a time. For tests, and for whoever asks what a cascade would do.

mod host;
mod time;
mod timed;

pub use host::Host;
pub use time::Time;
pub use timed::{Price, Timed};
