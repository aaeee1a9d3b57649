//! One level in one process: configuration → load → serve → drain.
//!
//! In reading order:
//!
//! - [`args`]: the command line and the environment, as they are written
//! - [`settings`]: what they and the cascade file come to, checked
//! - [`tls`]: the certificates of a process
//! - [`model`]: a level out of settings: a model with a Max-Gram beside it, or Max-Gram alone
//! - [`emulation`]: a level behind a link that is not there
//! - [`shutdown`]: who may ask the process to end: a signal, or the parent by going away
//! - `metrics`: what it tells Prometheus
//! - [`serve()`]: the process's life: bind, load, announce, serve, drain
//! - [`error`]: why a worker does not start
//!
//! A worker knows nothing of cascades, plans or other levels. It never restarts anything, and writes nothing but its log
//! and, on standard output, one line once it answers calls.

pub mod args;
pub mod emulation;
pub mod error;
mod metrics;
pub mod model;
mod serve;
pub mod settings;
pub mod shutdown;
pub mod tls;

pub use args::Args;
pub use error::Error;
pub use serve::{Announcement, run, serve};
pub use settings::Settings;
pub use tls::TlsArgs;
