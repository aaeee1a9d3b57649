//! The operations on candle's tensors, for devices that our kernels do not know.
//!
//! Not bit-exact: candle's products take another route for another number of rows, and a description says so. The same
//! code runs on candle's CPU device, where tests check it.

use candle_core::{
    Device, Error, Result as TensorResult, Tensor,
    quantized::{GgmlDType, QMatMul, QTensor, ggml_file::qtensor_from_ggml},
};
use candle_nn::{
    ops::{rms_norm, softmax_last_dim},
    rotary_emb::rope_thd,
};
use csd_kernel::Q4Format;
use csd_level::Token;

use self::cache::Cache;
use super::{
    angles::Angles,
    backend::{Attention, Backend, Batch, Linear},
};
use crate::{
    checkpoint::{
        config::Config,
        weights::{Held, Weight},
    },
    error::{LoadError, Result},
};

mod cache;

/// A device, with what of a model's shape it needs.
pub(crate) struct Candle {
    device: Device,
    angles: Angles,
    /// Cosines and sines of the batch's positions, `rows × head_dim / 2`.
    turn: Option<(Tensor, Tensor)>,
    heads: usize,
    kv_heads: usize,
    dim: usize,
    layers: usize,
    epsilon: f32,
}

/// Weights for products and, where it is the embedding, for looking rows up.
pub(crate) struct Matrix {
    weights: QMatMul,
    inputs: usize,
    rows: Option<Tensor>,
    bytes: usize,
}

/// Activations on the device, or none yet; and where they are read on the host.
#[derive(Default)]
pub(crate) struct Rows {
    tensor: Option<Tensor>,
    host: Vec<f32>,
}

impl Rows {
    fn get(&self) -> TensorResult<&Tensor> {
        let missing = || Error::Msg("activations that no operation has written".into());
        self.tensor.as_ref().ok_or_else(missing)
    }

    fn set(&mut self, tensor: Tensor) {
        self.tensor = Some(tensor);
    }
}

impl Candle {
    pub(crate) fn new(config: &Config, device: Device) -> Self {
        Self {
            device,
            angles: Angles::new(&config.rope, config.head_dim),
            turn: None,
            heads: config.heads,
            kv_heads: config.kv_heads,
            dim: config.head_dim,
            layers: config.layers,
            epsilon: config.epsilon,
        }
    }

    fn take(&self, mut weight: Weight<'_>) -> Result<TensorResult<Matrix>> {
        let (outputs, inputs) = (weight.outputs, weight.inputs);
        let blocks = match weight.held {
            // In bfloat16 a product would want its rows in bfloat16, too.
            Held::F32 | Held::Bf16 => None,
            Held::Q8_0 | Held::Q8_0Blocks => Some(GgmlDType::Q8_0),
            Held::Q4K | Held::Q4Blocks(Q4Format::Q4K) => Some(GgmlDType::Q4K),
            Held::Q4Blocks(Q4Format::Q4_0) => Some(GgmlDType::Q4_0),
            Held::Q4Blocks(Q4Format::Q4_1) => Some(GgmlDType::Q4_1),
        };
        let read_as_is = matches!(weight.held, Held::Q8_0Blocks | Held::Q4Blocks(_));
        let mut values = vec![
            0.0;
            if read_as_is && !weight.is_table {
                0
            } else {
                outputs * inputs
            }
        ];
        for (output, row) in values.chunks_exact_mut(inputs).enumerate() {
            weight.read(output, row)?;
        }
        let mut raw = Vec::new();
        if let (Some(kind), true) = (blocks, read_as_is) {
            let row_bytes = inputs / kind.block_size() * kind.type_size();
            raw = vec![0; outputs * row_bytes];
            for (output, row) in raw.chunks_exact_mut(row_bytes).enumerate() {
                weight.blocks(output, row)?;
            }
        }
        let shape = (outputs, inputs);
        let pack = || {
            let dense = |values| Tensor::from_vec(values, shape, &Device::Cpu);
            let (weights, bytes, rows) = match blocks {
                None => {
                    let table = dense(values)?.to_device(&self.device)?;
                    let rows = weight.is_table.then(|| table.clone());
                    (QMatMul::Tensor(table), 4 * outputs * inputs, rows)
                }
                Some(kind) => {
                    let table = match values.is_empty() {
                        true => None,
                        false => Some(dense(values)?),
                    };
                    if let (Some(table), false) = (&table, read_as_is) {
                        raw = QTensor::quantize(table, kind)?.data()?.into_owned();
                    }
                    let shape = vec![outputs, inputs];
                    let blocks = qtensor_from_ggml(kind, &raw, shape, &self.device)?;
                    let rows = match table.filter(|_| weight.is_table) {
                        Some(table) => Some(table.to_device(&self.device)?),
                        None => None,
                    };
                    (QMatMul::from_qtensor(blocks)?, raw.len(), rows)
                }
            };
            Ok(Matrix {
                weights,
                inputs,
                rows,
                bytes,
            })
        };
        Ok(pack())
    }
}

fn refused(error: Error) -> LoadError {
    LoadError::Setting {
        setting: "device",
        reason: error.to_string(),
    }
}

impl Backend for Candle {
    type Matrix = Matrix;
    type Vector = Tensor;
    type Rows = Rows;
    type Cache = Cache;
    type Error = Error;

    fn matrix(&mut self, weight: Weight<'_>) -> Result<Matrix> {
        self.take(weight)?.map_err(refused)
    }

    fn vector(&mut self, values: Vec<f32>) -> Result<Tensor> {
        Tensor::new(values, &self.device).map_err(refused)
    }

    fn cache(&self) -> Cache {
        Cache::new(self.layers, self.kv_heads, self.dim, &self.device)
    }

    fn matrix_bytes(matrix: &Matrix) -> usize {
        matrix.bytes
    }

    fn begin(&mut self, batch: &Batch) -> TensorResult<()> {
        let positions = || batch.places.iter().map(|&(_, position)| position);
        self.angles
            .reserve(positions().max().map_or(0, |most| most + 1));
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for position in positions() {
            let (of_cos, of_sin) = self.angles.at(position);
            cos.extend_from_slice(of_cos);
            sin.extend_from_slice(of_sin);
        }
        let shape = (batch.places.len(), self.angles.pairs());
        let put = |values| Tensor::from_vec(values, shape, &self.device);
        self.turn = Some((put(cos)?, put(sin)?));
        Ok(())
    }

    fn embed(&mut self, table: &Matrix, tokens: &[Token], out: &mut Rows) -> TensorResult<()> {
        let missing = || Error::Msg("a table without rows".into());
        let rows = table.rows.as_ref().ok_or_else(missing)?;
        out.set(rows.index_select(&Tensor::new(tokens, &self.device)?, 0)?);
        Ok(())
    }

    fn linear<const N: usize>(
        &mut self,
        layers: [(&Linear<Self>, &mut Rows); N],
        x: &Rows,
    ) -> TensorResult<()> {
        let x = x.get()?;
        for (layer, out) in layers {
            debug_assert_eq!(x.dim(1)?, layer.matrix.inputs);
            let product = candle_core::Module::forward(&layer.matrix.weights, x)?;
            out.set(match &layer.bias {
                Some(bias) => product.broadcast_add(bias)?,
                None => product,
            });
        }
        Ok(())
    }

    fn norm(&mut self, x: &Rows, weight: &Tensor, out: &mut Rows) -> TensorResult<()> {
        let x = x.get()?;
        let units = x.reshape(((), weight.elem_count()))?;
        let normed = rms_norm(&units, weight, self.epsilon)?;
        out.set(normed.reshape(x.shape())?);
        Ok(())
    }

    fn rope(&mut self, x: &mut Rows) -> TensorResult<()> {
        let tensor = x.get()?;
        let missing = || Error::Msg("a batch that has not begun".into());
        let (cos, sin) = self.turn.as_ref().ok_or_else(missing)?;
        let heads = tensor.reshape((1, tensor.dim(0)?, (), self.dim))?;
        let turned = rope_thd(&heads, cos, sin)?.reshape(tensor.shape())?;
        x.set(turned);
        Ok(())
    }

    fn attention(
        &mut self,
        layer: usize,
        batch: &Batch,
        caches: &mut [&mut Cache],
        rows: Attention<'_, Rows>,
    ) -> TensorResult<()> {
        let (query, key, value) = (rows.query.get()?, rows.key.get()?, rows.value.get()?);
        let mut parts = Vec::new();
        let mut start = 0;
        for group in batch.places.chunk_by(|a, b| a.0 == b.0) {
            let (sequence, position) = group[0];
            let take = |x: &Tensor, heads| {
                let rows = x.narrow(0, start, group.len())?;
                let heads = rows.reshape((group.len(), heads, self.dim))?;
                heads.transpose(0, 1)?.contiguous()
            };
            let (key, value) = (take(key, self.kv_heads)?, take(value, self.kv_heads)?);
            let (keys, values) = caches[sequence].write(layer, position, &key, &value)?;
            let query = take(query, self.heads)?;
            parts.push(self.attend(&query, &keys, &values, position)?);
            start += group.len();
        }
        rows.out.set(Tensor::cat(&parts, 0)?);
        Ok(())
    }

    fn gate(&mut self, gate: &mut Rows, up: &Rows) -> TensorResult<()> {
        let gated = (gate.get()?.silu()? * up.get()?)?;
        gate.set(gated);
        Ok(())
    }

    fn add(&mut self, x: &mut Rows, y: &Rows) -> TensorResult<()> {
        let sum = (x.get()? + y.get()?)?;
        x.set(sum);
        Ok(())
    }

    fn pick(&mut self, x: &Rows, wanted: &[usize], out: &mut Rows) -> TensorResult<()> {
        let wanted: Vec<u32> = wanted.iter().map(|&row| row as u32).collect();
        out.set(
            x.get()?
                .index_select(&Tensor::new(wanted, &self.device)?, 0)?,
        );
        Ok(())
    }

    fn host<'a>(&mut self, x: &'a mut Rows) -> TensorResult<&'a mut [f32]> {
        x.host = x.get()?.flatten_all()?.to_vec1()?;
        Ok(&mut x.host)
    }
}

impl Candle {
    /// Attention of one sequence's new rows, `heads × rows × dim`, the first at `position`; gives `rows × width`.
    fn attend(
        &self,
        query: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        position: usize,
    ) -> TensorResult<Tensor> {
        let (rows, len) = (query.dim(1)?, keys.dim(1)?);
        // Query heads that share a key head stand together, and become further rows of it.
        let grouped = query.reshape((self.kv_heads, (), self.dim))?;
        let scale = 1.0 / (self.dim as f64).sqrt();
        let scores = (grouped.matmul(&keys.transpose(1, 2)?)? * scale)?;
        let scores = match rows {
            // A single row is the last, and sees everything.
            1 => scores,
            _ => {
                let scores = scores.reshape((self.heads, rows, len))?;
                let masked = scores.broadcast_add(&self.mask(rows, len, position)?)?;
                masked.reshape((self.kv_heads, (), len))?
            }
        };
        let mixed = softmax_last_dim(&scores)?.matmul(values)?;
        let mixed = mixed.reshape((self.heads, rows, self.dim))?;
        mixed
            .transpose(0, 1)?
            .reshape((rows, self.heads * self.dim))
    }

    /// What hides later positions, of `len`, from rows that begin at `position`: `1 × rows × len`.
    fn mask(&self, rows: usize, len: usize, position: usize) -> TensorResult<Tensor> {
        let mask: Vec<f32> = (0..rows)
            .flat_map(|row| {
                (0..len).map(move |other| match other <= position + row {
                    true => 0.0,
                    false => f32::NEG_INFINITY,
                })
            })
            .collect();
        Tensor::from_vec(mask, (1, rows, len), &self.device)
    }
}
