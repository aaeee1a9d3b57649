//! Decoders: one forward, written once over a handful of operations, and what computes them.
//!
//! - [`backend`]: the operations
//! - [`forward`]: the model, built from a checkpoint, and its forward over a ragged batch
//! - [`cpu`]: the operations on our row-wise kernels, exact
//! - `candle`: the same on candle's tensors, for CUDA; not exact
//! - `angles`: the rotary embedding's table

pub(crate) mod angles;
pub(crate) mod backend;
pub(crate) mod candle;
pub(crate) mod cpu;
pub(crate) mod forward;
