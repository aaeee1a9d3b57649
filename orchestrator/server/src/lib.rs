//! The orchestrator: runs a cascade over levels, wherever they are, behind an OpenAI-compatible API.
//!
//! In reading order:
//!
//! - [`orchestrator`]: what every request shares
//! - [`generation`], [`echo`], `readers`, [`admission`]: the life of one text, its prompt given back, which drafters have
//!   read it, and its turn
//! - `counted`: the same text, as the metrics see it
//! - [`timeline`]: which level did what when, for texts that are watched
//! - [`plan`]: plans as callers name them
//! - [`text`], [`decoder`], [`stop`]: from texts to token ids, and back as they come
//! - [`template`]: from conversations to texts
//! - [`levels`], [`whereabouts`], [`seat`], [`replica`], `prober`, [`watch`]: finding the levels and their replicas, and
//!   finding them again
//! - [`access`], `tenant`: who may use the API, and whose texts are theirs
//! - [`http`]: the API
//! - [`mod@serve`]: start, serve, drain
//! - [`error`]: failures by what the caller can do about them
//!
//! This crate computes no token: it asks levels, and believes the target alone. Prompts and texts are never logged.

pub mod access;
pub mod admission;
mod clock;
mod counted;
mod date;
pub mod decoder;
pub mod echo;
pub mod error;
pub mod generation;
pub mod http;
pub mod levels;
pub mod orchestrator;
pub mod plan;
mod prober;
mod random;
mod readers;
pub mod replica;
pub mod seat;
pub mod serve;
pub mod stop;
pub mod template;
mod tenant;
pub mod text;
pub mod timeline;
pub mod watch;
pub mod whereabouts;

pub use error::Failure;
pub use generation::{Chunk, Finish, Generation, Reason, Task, Written};
pub use orchestrator::{Orchestrator, Parts};
pub use plan::NamedPlan;
pub use serve::{Connected, ServeOptions, SetupError, serve};
pub use text::Text;
