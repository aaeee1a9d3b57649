//! Decoders whose KV cache can be cut back.
//!
//! A model is a [`Level`](csd_level::Level): it reviews a draft in one forward over all drafted positions, however many
//! sequences share it, and forgets what was refused by moving a length. Keys, values and logits at position p depend on
//! tokens 0 ..= p alone, bit for bit, on the CPU.
//!
//! In reading order:
//!
//! - [`engine`]: a model on a thread of its own, answering reviews: [`Engine`], [`Settings`]
//! - `cache`: sequences that are remembered between calls
//! - `decoder`: the forward, written once, and the back ends that compute it
//! - [`checkpoint`]: Hugging Face folders and GGUF files, read without ever holding them in memory
//! - [`enlarge`](mod@enlarge): the same function at a larger cost, for measurements
//! - [`error`]: why a model cannot be served
//!
//! This crate never opens a socket, needs no runtime, downloads nothing, and decides nothing about tokens: logits go to
//! `csd_level::review` as they are.

mod cache;
pub mod checkpoint;
mod decoder;
pub mod engine;
pub mod enlarge;
pub mod error;

pub use checkpoint::{
    Checkpoint,
    tokens::TokenMap,
    weights::{UnknownWeights, Weights},
};
pub use engine::{Device, Engine, ForwardTimes, Gauges, Observer, Settings, UnknownDevice};
pub use enlarge::enlarge;
pub use error::LoadError;

#[cfg(test)]
mod tests;
