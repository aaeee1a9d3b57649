//! Weights, packed once at load into tiles of neighbouring outputs.
//!
//! A tile holds all inputs of some outputs, interleaved so that one load gives the same few inputs of every
//! output of the tile: a product walks a tile from front to back once, for up to sixteen rows together. The
//! last tile is padded with zero weights. `storage` is the memory of all. One file per kind of weight, one skeleton: the packed tiles with
//! `new`, `set_row`, `row`, `tile`, and the arithmetic that its products are held to in its first lines.

pub(crate) mod float;
pub(crate) mod q4;
pub(crate) mod q8_0;
mod storage;

use self::float::FloatTiles;
pub use self::q4::Q4Format;
use self::q4::Q4Tiles;
use self::q8_0::Q8Tiles;
pub(crate) use self::storage::Storage;

/// Inputs that share one scale in the quantised kinds.
pub const BLOCK: usize = 32;

/// How a matrix stores its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 32-bit floats; any number of inputs.
    F32,
    /// 16-bit floats (bfloat16); any number of inputs. The numbers of [`Kind::F32`] for weights that fit.
    Bf16,
    /// 8-bit integers with a half-precision scale per block of 32 inputs: GGUF's Q8_0.
    Q8_0,
    /// 4-bit integers with a half-precision scale and minimum per block of 32 inputs: what GGUF's Q4_0, Q4_1
    /// and Q4_K are held as.
    Q4,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::F32, Kind::Bf16, Kind::Q8_0, Kind::Q4];
}

/// Why a matrix could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError<E: std::fmt::Display> {
    /// This kind cannot hold such rows: pack the tensor as another one ([`Kind::F32`] and [`Kind::Bf16`] take any shape).
    #[error(
        "{kind:?} packs blocks of {block} inputs, and rows of {inputs} inputs are not whole blocks"
    )]
    NotInBlocks {
        /// The kind that was asked for.
        kind: Kind,
        /// Inputs that must stand together.
        block: usize,
        /// The row's length.
        inputs: usize,
    },
    /// The matrix has no outputs or no inputs.
    #[error("a matrix of {outputs} outputs and {inputs} inputs is empty")]
    Empty {
        /// Outputs asked for.
        outputs: usize,
        /// Inputs asked for.
        inputs: usize,
    },
    /// The source of the rows failed.
    #[error("{0}")]
    Source(E),
}

/// Weights of `outputs × inputs`, ready for [`Compute::multiply`](crate::Compute::multiply).
#[derive(Debug)]
pub struct Matrix {
    outputs: usize,
    inputs: usize,
    pub(crate) tiles: Tiles,
}

#[derive(Debug)]
pub(crate) enum Tiles {
    F32(FloatTiles<f32>),
    Bf16(FloatTiles<half::bf16>),
    Q8_0(Q8Tiles),
    Q4(Q4Tiles),
}

impl Matrix {
    /// Packs a matrix row by row, so that loading never holds a second copy of it.
    ///
    /// `source(output, row)` writes the `inputs` weights of one output; it is called once for every output,
    /// in order. [`Kind::Q8_0`] quantises them by ggml's rule: per block d = max|w| / 127, q = round(w / d)
    /// with halves away from zero, d stored in half precision. [`Kind::Q4`] spreads 16 steps evenly over the
    /// range of each block, zero included: a quantiser that searches does better, and its blocks can be packed by
    /// [`Matrix::pack_q4_blocks`].
    pub fn pack<E: std::fmt::Display>(
        kind: Kind,
        outputs: usize,
        inputs: usize,
        mut source: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<Self, PackError<E>> {
        let mut matrix = Self::zeroed(kind, outputs, inputs)?;
        let mut row = vec![0.0; inputs];
        for output in 0..outputs {
            source(output, &mut row).map_err(PackError::Source)?;
            match &mut matrix.tiles {
                Tiles::F32(tiles) => tiles.set_row(output, &row),
                Tiles::Bf16(tiles) => tiles.set_row(output, &row),
                Tiles::Q8_0(tiles) => tiles.set_row(output, &row),
                Tiles::Q4(tiles) => tiles.set_row(output, &row),
            }
        }
        Ok(matrix)
    }

    /// Packs rows of GGUF's Q8_0 blocks as they stand in the file.
    ///
    /// `source(output, row)` writes the `inputs / 32 × 34` bytes of one output: per block the scale in half
    /// precision, little-endian, then 32 signed bytes.
    pub fn pack_q8_0_blocks<E: std::fmt::Display>(
        outputs: usize,
        inputs: usize,
        mut source: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, PackError<E>> {
        let mut tiles = Q8Tiles::new(outputs, blocks(Kind::Q8_0, BLOCK, outputs, inputs)?);
        let mut row = vec![0; inputs / BLOCK * q8_0::BLOCK_BYTES];
        for output in 0..outputs {
            source(output, &mut row).map_err(PackError::Source)?;
            tiles.set_row_of_blocks(output, &row);
        }
        Ok(Self {
            outputs,
            inputs,
            tiles: Tiles::Q8_0(tiles),
        })
    }

    /// Packs rows of GGUF's 4-bit blocks as they stand in the file.
    ///
    /// `source(output, row)` writes the `inputs / block_inputs × block_bytes` bytes of one output.
    pub fn pack_q4_blocks<E: std::fmt::Display>(
        format: Q4Format,
        outputs: usize,
        inputs: usize,
        mut source: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, PackError<E>> {
        let stored = blocks(Kind::Q4, format.block_inputs(), outputs, inputs)?;
        let mut tiles = Q4Tiles::new(outputs, inputs / BLOCK);
        let mut row = vec![0; stored * format.block_bytes()];
        for output in 0..outputs {
            source(output, &mut row).map_err(PackError::Source)?;
            tiles.set_row_of_blocks(output, format, &row);
        }
        Ok(Self {
            outputs,
            inputs,
            tiles: Tiles::Q4(tiles),
        })
    }

    fn zeroed<E: std::fmt::Display>(
        kind: Kind,
        outputs: usize,
        inputs: usize,
    ) -> Result<Self, PackError<E>> {
        let tiles = match kind {
            Kind::F32 => Tiles::F32(FloatTiles::new(outputs, blocks(kind, 1, outputs, inputs)?)),
            Kind::Bf16 => Tiles::Bf16(FloatTiles::new(outputs, blocks(kind, 1, outputs, inputs)?)),
            Kind::Q8_0 => Tiles::Q8_0(Q8Tiles::new(outputs, blocks(kind, BLOCK, outputs, inputs)?)),
            Kind::Q4 => Tiles::Q4(Q4Tiles::new(outputs, blocks(kind, BLOCK, outputs, inputs)?)),
        };
        Ok(Self {
            outputs,
            inputs,
            tiles,
        })
    }

    /// Rows of the weight matrix: the length of a result row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the weight matrix: the length of an activation row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// How the weights are stored.
    pub fn kind(&self) -> Kind {
        match self.tiles {
            Tiles::F32(_) => Kind::F32,
            Tiles::Bf16(_) => Kind::Bf16,
            Tiles::Q8_0(_) => Kind::Q8_0,
            Tiles::Q4(_) => Kind::Q4,
        }
    }

    /// Bytes of weights and scales held, padding included.
    pub fn bytes(&self) -> usize {
        match &self.tiles {
            Tiles::F32(tiles) => tiles.bytes(),
            Tiles::Bf16(tiles) => tiles.bytes(),
            Tiles::Q8_0(tiles) => tiles.bytes(),
            Tiles::Q4(tiles) => tiles.bytes(),
        }
    }

    /// Writes the weights of one output, dequantised: the embedding of a token when the matrix is tied.
    ///
    /// # Panics
    /// When `output` is out of range or `into` is not `inputs` long.
    pub fn row(&self, output: usize, into: &mut [f32]) {
        assert!(
            output < self.outputs,
            "row {output} of a matrix with {} outputs",
            self.outputs
        );
        assert_eq!(
            into.len(),
            self.inputs,
            "a row is as long as the matrix has inputs"
        );
        match &self.tiles {
            Tiles::F32(tiles) => tiles.row(output, into),
            Tiles::Bf16(tiles) => tiles.row(output, into),
            Tiles::Q8_0(tiles) => tiles.row(output, into),
            Tiles::Q4(tiles) => tiles.row(output, into),
        }
    }
}

impl Tiles {
    /// How many tiles the matrix has.
    pub(crate) fn count(&self) -> usize {
        match self {
            Tiles::F32(tiles) => tiles.count(),
            Tiles::Bf16(tiles) => tiles.count(),
            Tiles::Q8_0(tiles) => tiles.count(),
            Tiles::Q4(tiles) => tiles.count(),
        }
    }
}

/// Blocks of `block` inputs in a row, when rows are whole blocks.
fn blocks<E: std::fmt::Display>(
    kind: Kind,
    block: usize,
    outputs: usize,
    inputs: usize,
) -> Result<usize, PackError<E>> {
    if outputs == 0 || inputs == 0 {
        return Err(PackError::Empty { outputs, inputs });
    }
    if !inputs.is_multiple_of(block) {
        return Err(PackError::NotInBlocks {
            kind,
            block,
            inputs,
        });
    }
    Ok(inputs / block)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn weight(output: usize, input: usize) -> f32 {
        ((output * 31 + input * 17) % 101) as f32 / 50.0 - 1.0
    }

    fn packed(kind: Kind, outputs: usize, inputs: usize) -> Result<Matrix, PackError<Infallible>> {
        Matrix::pack(kind, outputs, inputs, |output, row| {
            row.iter_mut()
                .enumerate()
                .for_each(|(input, value)| *value = weight(output, input));
            Ok(())
        })
    }

    #[test]
    fn rows_come_back() {
        for (kind, tolerance) in [
            (Kind::F32, 0.0),
            (Kind::Bf16, 1.0 / 256.0),
            (Kind::Q8_0, 0.5 / 127.0 + 1e-3),
            (Kind::Q4, 1.0 / 15.0 + 1e-3),
        ] {
            let matrix = packed(kind, 37, 96).unwrap();
            let mut row = [0.0; 96];
            for output in 0..37 {
                matrix.row(output, &mut row);
                for (input, value) in row.into_iter().enumerate() {
                    assert!(
                        (value - weight(output, input)).abs() <= tolerance,
                        "{kind:?} {output} {input}"
                    );
                }
            }
        }
    }

    #[test]
    fn raw_blocks_equal_quantised_rows() {
        let quantised = packed(Kind::Q8_0, 5, 64).unwrap();
        let raw = Matrix::pack_q8_0_blocks(5, 64, |output, bytes| {
            for (block, bytes) in bytes.chunks_exact_mut(34).enumerate() {
                let weights: Vec<f32> = (0..32)
                    .map(|input| weight(output, block * 32 + input))
                    .collect();
                let scale = weights
                    .iter()
                    .fold(0f32, |most, weight| most.max(weight.abs()))
                    / 127.0;
                bytes[..2].copy_from_slice(&half::f16::from_f32(scale).to_le_bytes());
                for (byte, weight) in bytes[2..].iter_mut().zip(weights) {
                    *byte = (weight * (1.0 / scale)).round() as i8 as u8;
                }
            }
            Ok::<(), Infallible>(())
        })
        .unwrap();
        let (mut left, mut right) = ([0.0; 64], [0.0; 64]);
        for output in 0..5 {
            quantised.row(output, &mut left);
            raw.row(output, &mut right);
            assert_eq!(left, right);
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let error = packed(Kind::Q8_0, 4, 40).unwrap_err();
        assert!(
            matches!(error, PackError::NotInBlocks { inputs: 40, .. }),
            "{error}"
        );
        assert!(matches!(
            packed(Kind::F32, 0, 8),
            Err(PackError::Empty { .. })
        ));
        assert!(packed(Kind::F32, 3, 7).is_ok());
        let failing = Matrix::pack(Kind::F32, 2, 2, |output, _| {
            if output == 1 {
                Err("cut short")
            } else {
                Ok(())
            }
        });
        assert!(matches!(failing, Err(PackError::Source("cut short"))));
    }
}
