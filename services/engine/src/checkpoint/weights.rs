//! Which type each tensor is held in, and its rows on their way there.

use std::{collections::BTreeMap, fmt};

use candle_core::quantized::GgmlDType;

use super::{
    Checkpoint, Tensor,
    part::{Part, Piece},
    tensors::Rows,
};
use crate::error::Result;

/// The type that weights are to be held in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// 32-bit floats.
    #[default]
    F32,
    /// 8-bit blocks of 32.
    Q8_0,
    /// 4-bit blocks of 256.
    Q4K,
}

/// The type that one tensor is held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    F32,
    Q8_0,
    /// Q8_0 blocks as they stand in the file.
    Q8_0Blocks,
}

impl fmt::Display for Weights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
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
    tensor: &'a Tensor<'a>,
    rows: Rows<'a>,
}

impl Weight<'_> {
    /// The weights of one output.
    pub(crate) fn read(&mut self, output: usize, into: &mut [f32]) -> Result<()> {
        self.rows.read(self.tensor.place(output), into)
    }

    /// The bytes of one output, in [`Held::Q8_0Blocks`].
    pub(crate) fn blocks(&mut self, output: usize, into: &mut [u8]) -> Result<()> {
        into.copy_from_slice(self.rows.raw(self.tensor.place(output))?);
        Ok(())
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
    let plain = matches!(stored, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
    if asked == Weights::F32 {
        return (Held::F32, None);
    }
    if stored == GgmlDType::Q8_0 {
        let reason = (asked != Weights::Q8_0).then(|| "q8_0, as it is stored".to_owned());
        return (Held::Q8_0Blocks, reason);
    }
    if !inputs.is_multiple_of(csd_kernel::BLOCK) {
        let reason = format!("f32: rows of {inputs} are not whole blocks");
        return (Held::F32, Some(reason));
    }
    let reason = match (plain, asked) {
        (true, Weights::Q8_0) => None,
        (true, _) => Some(format!("q8_0: there is no product of {asked} yet")),
        (false, _) => Some(format!("q8_0: stored as {stored:?}")),
    };
    (Held::Q8_0, reason)
}
