//! What to load, and how much it may take.

use std::path::PathBuf;

use crate::checkpoint::weights::Weights;

/// Where a model computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// Our kernels: reviews are bit-exact.
    #[default]
    Cpu,
    /// A CUDA device by its number, through candle. Needs the feature `cuda`; not bit-exact.
    Cuda(usize),
}

/// The settings of an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The level's name: target, draft, …
    pub name: String,
    /// A Hugging Face folder or a GGUF file.
    pub model: PathBuf,
    /// The type that weights are held in.
    pub weights: Weights,
    /// Where it computes.
    pub device: Device,
    /// Threads of a forward, the engine's own included.
    pub threads: usize,
    /// The rows of a forward that are said to cost little more than one.
    pub rows: usize,
    /// Positions of a sequence; without it as many as the model was made for and the cache has room for.
    pub context: Option<usize>,
    /// Bytes of keys and values, all sequences together.
    pub cache_bytes: usize,
    /// Calls that may wait.
    pub queue: usize,
}

impl Settings {
    /// A model with one thread, 32-bit floats, and room for 512 MiB of keys and values.
    pub fn new(name: impl Into<String>, model: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            model: model.into(),
            weights: Weights::F32,
            device: Device::Cpu,
            threads: 1,
            rows: 16,
            context: None,
            cache_bytes: 512 << 20,
            queue: 64,
        }
    }
}
