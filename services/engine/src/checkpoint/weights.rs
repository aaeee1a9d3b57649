//! Which type each tensor is held in, and its rows on their way there.

use std::{collections::BTreeMap, fmt, str::FromStr};

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor},
};
use csd_kernel::{BLOCK, Q4Format};

use super::{
    Checkpoint, Tensor as Stored,
    part::{Part, Piece},
    tensors::Rows,
};
use crate::error::{LoadError, Result};

/// The type that weights are to be held in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats (bfloat16): the numbers of 32-bit ones for a checkpoint stored so, at half the bytes.
    Bf16,
    /// 8-bit blocks of 32.
    Q8_0,
    /// 4-bit blocks of 256.
    Q4K,
}

/// The type that one tensor is held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    F32,
    Bf16,
    Q8_0,
    /// Quantised here, by candle's search for scales and minima.
    Q4K,
    /// Q8_0 blocks as they stand in the file.
    Q8_0Blocks,
    /// 4-bit blocks as they stand in the file.
    Q4Blocks(Q4Format),
}

/// No type of weights has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: must be f32, bf16, q8_0 or q4_k")]
pub struct UnknownWeights(
    /// The name.
    pub String,
);

impl FromStr for Weights {
    type Err = UnknownWeights;

    fn from_str(name: &str) -> Result<Self, UnknownWeights> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "q8_0" => Ok(Self::Q8_0),
            "q4_k" => Ok(Self::Q4K),
            _ => Err(UnknownWeights(name.to_owned())),
        }
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4_k",
        })
    }
}

/// A matrix on its way from the file to a back end.
pub(crate) struct Weight<'a> {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) held: Held,
    /// Whether rows are looked up in it.
    pub(crate) is_table: bool,
    tensor: &'a Stored<'a>,
    rows: Rows<'a>,
}

impl Weight<'_> {
    /// The weights of one output.
    pub(crate) fn read(&mut self, output: usize, into: &mut [f32]) -> Result<()> {
        self.rows.read(self.tensor.place(output), into)
    }

    /// The blocks of one output, where it is held in some that stand in the file.
    pub(crate) fn blocks(&mut self, output: usize, into: &mut [u8]) -> Result<()> {
        into.copy_from_slice(self.rows.raw(self.tensor.place(output))?);
        Ok(())
    }

    /// The blocks of one output in [`Held::Q4K`].
    pub(crate) fn quantise(&mut self, output: usize, into: &mut [u8]) -> Result<()> {
        let mut row = vec![0.0; self.inputs];
        self.read(output, &mut row)?;
        let quantised = || -> candle_core::Result<()> {
            let row = Tensor::new(row, &Device::Cpu)?;
            let blocks = QTensor::quantize(&row, GgmlDType::Q4K)?;
            into.copy_from_slice(&blocks.data()?);
            Ok(())
        };
        quantised().map_err(|error| LoadError::Setting {
            setting: "weights",
            reason: error.to_string(),
        })
    }
}

/// Reads the tensors of a checkpoint in the type asked for, or the next best.
pub(crate) struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    weights: Weights,
    /// Counts tensors by part and reason.
    fallbacks: BTreeMap<String, usize>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint, weights: Weights) -> Self {
        Self {
            checkpoint,
            weights,
            fallbacks: BTreeMap::new(),
        }
    }

    /// Hands a matrix to `pack`.
    pub(crate) fn matrix<M>(
        &mut self,
        part: Part,
        layer: usize,
        (outputs, inputs): (usize, usize),
        pack: impl FnOnce(Weight<'_>) -> Result<M>,
    ) -> Result<M> {
        let shape = [outputs, inputs];
        let tensor = self.checkpoint.tensor(part, layer, Piece::Weight, &shape)?;
        let (held, reason) = choose(self.weights, tensor.stored.format, inputs);
        if let Some(reason) = reason {
            let part = part.name(super::Naming::Gguf, 0, Piece::Weight);
            let part = part.trim_start_matches("blk.0.");
            *self
                .fallbacks
                .entry(format!("{part}: {reason}"))
                .or_default() += 1;
        }
        let rows = self.checkpoint.rows(&tensor);
        pack(Weight {
            outputs,
            inputs,
            held,
            is_table: part == Part::Embedding,
            tensor: &tensor,
            rows,
        })
    }

    /// A norm's weight or a bias.
    pub(crate) fn vector(
        &self,
        part: Part,
        layer: usize,
        piece: Piece,
        len: usize,
    ) -> Result<Vec<f32>> {
        let tensor = self.checkpoint.tensor(part, layer, piece, &[len])?;
        let mut stored = vec![0.0; len];
        self.checkpoint.rows(&tensor).read(0, &mut stored)?;
        Ok((0..len).map(|index| stored[tensor.place(index)]).collect())
    }

    /// Tensors that are held in another type than asked for, and why.
    pub(crate) fn fallbacks(self) -> Vec<String> {
        self.fallbacks
            .into_iter()
            .map(|(reason, count)| format!("{reason} ({count} tensors)"))
            .collect()
    }
}

/// What a tensor of `stored` type is held as when `asked` is asked for, and why where that is something else.
fn choose(asked: Weights, stored: GgmlDType, inputs: usize) -> (Held, Option<String>) {
    let as_stored = |kept: Weights| (asked != kept).then(|| format!("{stored:?}, as it is stored"));
    let whole = |block: usize| inputs.is_multiple_of(block);
    match (asked, stored) {
        (Weights::F32, _) => (Held::F32, None),
        (_, GgmlDType::Q8_0) => (Held::Q8_0Blocks, as_stored(Weights::Q8_0)),
        (_, GgmlDType::Q4K) => (Held::Q4Blocks(Q4Format::Q4K), as_stored(Weights::Q4K)),
        (_, GgmlDType::Q4_0) => (Held::Q4Blocks(Q4Format::Q4_0), as_stored(Weights::F32)),
        (_, GgmlDType::Q4_1) => (Held::Q4Blocks(Q4Format::Q4_1), as_stored(Weights::F32)),
        (_, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16) => match asked {
            Weights::Bf16 => (Held::Bf16, None),
            Weights::Q4K if whole(Q4Format::Q4K.block_inputs()) => (Held::Q4K, None),
            Weights::Q8_0 if whole(BLOCK) => (Held::Q8_0, None),
            _ if whole(BLOCK) => {
                let reason = format!("q8_0: rows of {inputs} are not whole blocks of {asked}");
                (Held::Q8_0, Some(reason))
            }
            _ => {
                let reason = format!("f32: rows of {inputs} are not whole blocks of {asked}");
                (Held::F32, Some(reason))
            }
        },
        _ => (Held::Q8_0, Some(format!("q8_0: stored as {stored:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_by_the_name_it_shows() {
        for weights in [Weights::F32, Weights::Bf16, Weights::Q8_0, Weights::Q4K] {
            assert_eq!(weights.to_string().parse(), Ok(weights));
        }
        assert_eq!("f13".parse::<Weights>(), Err(UnknownWeights("f13".into())));
    }

    #[test]
    fn a_type_that_does_not_fit_falls_back_and_says_so() {
        let held = |asked, stored, inputs| choose(asked, stored, inputs).0;
        assert_eq!(held(Weights::Q4K, GgmlDType::BF16, 512), Held::Q4K);
        assert_eq!(held(Weights::Q4K, GgmlDType::BF16, 96), Held::Q8_0);
        assert_eq!(held(Weights::Q4K, GgmlDType::BF16, 40), Held::F32);
        assert_eq!(held(Weights::Q8_0, GgmlDType::Q6K, 256), Held::Q8_0);
        assert_eq!(held(Weights::Bf16, GgmlDType::BF16, 40), Held::Bf16);
        assert_eq!(held(Weights::Bf16, GgmlDType::Q8_0, 64), Held::Q8_0Blocks);
        assert_eq!(held(Weights::F32, GgmlDType::Q6K, 256), Held::F32);
        let said = |asked, stored, inputs| choose(asked, stored, inputs).1.is_some();
        assert!(said(Weights::Q4K, GgmlDType::F16, 96));
        assert!(said(Weights::Q8_0, GgmlDType::Q4_0, 96));
        assert!(!said(Weights::Q8_0, GgmlDType::F32, 96));
    }
}
