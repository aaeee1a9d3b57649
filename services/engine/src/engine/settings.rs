//! What to load, and how much it may take.

use std::{fmt, path::PathBuf, str::FromStr};

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

/// No device has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: must be cpu, or cuda:N for the N-th CUDA device from 0")]
pub struct UnknownDevice(
    /// The name.
    pub String,
);

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        let number = match name {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            _ => name
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok()),
        };
        let unknown = || UnknownDevice(name.to_owned());
        number.map(Self::Cuda).ok_or_else(unknown)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(index) => write!(formatter, "cuda:{index}"),
        }
    }
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
    /// bound by arithmetic early, but only small models are held so; a device is bound by starting its kernels.
    pub(crate) fn cheap_rows(&self) -> usize {
        let bound = match (self.device, self.weights, Isa::detect()) {
            (Device::Cuda(_), ..) => 32,
            (_, Weights::F32, _) | (.., Isa::Avx512Vnni | Isa::Amx) => 16,
            _ => 8,
        };
        self.rows.unwrap_or(bound).max(1)
    }
}
