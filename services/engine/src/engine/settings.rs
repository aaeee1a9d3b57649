//! What to load, and how much it may take.

use std::path::PathBuf;

use csd_kernel::Isa;

use super::forward_times::ForwardTimes;
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
    /// The rows of a forward that are said to cost little more than one; without it what this processor's kernels can do.
    pub rows: Option<usize>,
    /// Positions of a sequence; without it as many as the model was made for and the cache has room for.
    pub context: Option<usize>,
    /// Bytes of keys and values, all sequences together.
    pub cache_bytes: usize,
    /// Calls that may wait.
    pub queue: usize,
    /// What a forward is to take, instead of what it takes.
    pub forward_times: Option<ForwardTimes>,
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
            rows: None,
            context: None,
            cache_bytes: 512 << 20,
            queue: 64,
            forward_times: None,
        }
    }

    /// How many rows cost little more than one. Integer products are bound by reading the weights up to here; floats are
    /// bound by arithmetic early, but only small models are held so.
    pub(crate) fn cheap_rows(&self) -> usize {
        let bound = match (self.weights, Isa::detect()) {
            (Weights::F32, _) | (_, Isa::Avx512Vnni | Isa::Amx) => 16,
            _ => 8,
        };
        self.rows.unwrap_or(bound).max(1)
    }
}
