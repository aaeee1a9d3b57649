//! The operations on our row-wise kernels: every row's numbers are its own, whatever is computed beside it.

use std::convert::Infallible;

use csd_kernel::{Cache, Compute, Heads, Kind, Matrix, PAGE, PackError, Product, Q4Format};
use csd_level::Token;

use super::{
    angles::Angles,
    backend::{Attention, Backend, Batch, Linear, Sequence},
};
use crate::{
    checkpoint::{
        config::Config,
        weights::{Held, Weight},
    },
    error::{LoadError, Result},
};

/// The kernels, with what of a model's shape they need.
pub(crate) struct Cpu {
    compute: Compute,
    angles: Angles,
    positions: Vec<usize>,
    heads: Heads,
    layers: usize,
    epsilon: f32,
}

impl Cpu {
    pub(crate) fn new(config: &Config, threads: usize) -> Self {
        Self {
            compute: Compute::new(threads),
            angles: Angles::new(&config.rope, config.head_dim),
            positions: Vec::new(),
            heads: Heads {
                query: config.heads,
                kv: config.kv_heads,
                dim: config.head_dim,
            },
            layers: config.layers,
            epsilon: config.epsilon,
        }
    }

    /// What the numbers depend on beside the model: the kernels' arithmetic and the rotary table. The instruction set
    /// is not part of it: all give the same bits.
    pub(crate) fn numerics(&mut self) -> String {
        format!(
            "cpu-{}-{}",
            env!("CARGO_PKG_VERSION"),
            self.angles.fingerprint()
        )
    }
}

impl Sequence for Vec<Cache> {
    fn fork(&self, len: usize) -> Self {
        let mut fork = self.clone();
        fork.shrink(len);
        fork
    }

    fn reserve(&mut self, len: usize) {
        self.iter_mut().for_each(|layer| layer.reserve(len));
    }

    fn shrink(&mut self, len: usize) {
        self.iter_mut().for_each(|layer| layer.shrink(len));
    }

    fn bytes(&self) -> usize {
        self.iter().map(Cache::bytes).sum()
    }

    fn bytes_for(&self, len: usize) -> usize {
        // Saturating: a configuration may announce far more positions than any memory has.
        let pages = len.div_ceil(PAGE);
        let of_layer = |layer: &Cache| {
            let width = layer.kv_heads() * layer.head_dim();
            pages
                .saturating_mul(PAGE * 2 * size_of::<f32>())
                .saturating_mul(width)
        };
        self.iter().map(of_layer).fold(0, usize::saturating_add)
    }
}

/// Gives a buffer its length. It keeps its allocation from forward to forward.
fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(len, 0.0);
    buffer
}

impl Backend for Cpu {
    type Matrix = Matrix;
    type Vector = Vec<f32>;
    type Rows = Vec<f32>;
    type Cache = Vec<Cache>;
    type Error = Infallible;

    fn matrix(&mut self, mut weight: Weight<'_>) -> Result<Matrix> {
        let (outputs, inputs) = (weight.outputs, weight.inputs);
        let packed = match weight.held {
            Held::Q8_0Blocks => Matrix::pack_q8_0_blocks(outputs, inputs, |output, into| {
                weight.blocks(output, into)
            }),
            Held::Q4Blocks(format) => {
                Matrix::pack_q4_blocks(format, outputs, inputs, |output, into| {
                    weight.blocks(output, into)
                })
            }
            Held::Q4K => Matrix::pack_q4_blocks(Q4Format::Q4K, outputs, inputs, |output, into| {
                weight.quantise(output, into)
            }),
            Held::Q8_0 => Matrix::pack(Kind::Q8_0, outputs, inputs, |output, into| {
                weight.read(output, into)
            }),
            Held::Bf16 => Matrix::pack(Kind::Bf16, outputs, inputs, |output, into| {
                weight.read(output, into)
            }),
            Held::F32 => Matrix::pack(Kind::F32, outputs, inputs, |output, into| {
                weight.read(output, into)
            }),
        };
        packed.map_err(|error| match error {
            PackError::Source(error) => error,
            shape => LoadError::Setting {
                setting: "weights",
                reason: shape.to_string(),
            },
        })
    }

    fn vector(&mut self, values: Vec<f32>) -> Result<Vec<f32>> {
        Ok(values)
    }

    fn cache(&self) -> Vec<Cache> {
        vec![Cache::new(self.heads.kv, self.heads.dim); self.layers]
    }

    fn matrix_bytes(matrix: &Matrix) -> usize {
        matrix.bytes()
    }

    fn begin(&mut self, batch: &Batch) -> Result<(), Infallible> {
        self.positions.clear();
        self.positions
            .extend(batch.places.iter().map(|&(_, position)| position));
        let len = self.positions.iter().max().map_or(0, |most| most + 1);
        self.angles.reserve(len);
        Ok(())
    }

    fn embed(
        &mut self,
        table: &Matrix,
        tokens: &[Token],
        out: &mut Vec<f32>,
    ) -> Result<(), Infallible> {
        let out = sized(out, tokens.len() * table.inputs());
        for (&token, row) in tokens.iter().zip(out.chunks_exact_mut(table.inputs())) {
            table.row(token as usize, row);
        }
        Ok(())
    }

    fn linear<const N: usize>(
        &mut self,
        layers: [(&Linear<Self>, &mut Vec<f32>); N],
        x: &Vec<f32>,
    ) -> Result<(), Infallible> {
        let mut layers = layers;
        let rows = x.len() / layers[0].0.matrix.inputs();
        let mut products = layers.each_mut().map(|(layer, out)| {
            let out = sized(out, rows * layer.matrix.outputs());
            Product::new(&layer.matrix, out)
        });
        self.compute.multiply_many(&mut products, x, rows);
        for (layer, out) in layers {
            if let Some(bias) = &layer.bias {
                self.compute.add_bias(out, bias);
            }
        }
        Ok(())
    }

    fn norm(
        &mut self,
        x: &Vec<f32>,
        weight: &Vec<f32>,
        out: &mut Vec<f32>,
    ) -> Result<(), Infallible> {
        let out = sized(out, x.len());
        self.compute.rms_norm(x, weight, self.epsilon, out);
        Ok(())
    }

    fn rope(&mut self, x: &mut Vec<f32>) -> Result<(), Infallible> {
        let width = x.len() / self.positions.len();
        for (row, &position) in x.chunks_exact_mut(width).zip(&self.positions) {
            let (cos, sin) = self.angles.at(position);
            self.compute.rope(row, self.heads.dim, cos, sin);
        }
        Ok(())
    }

    fn attention(
        &mut self,
        layer: usize,
        batch: &Batch,
        caches: &mut [&mut Vec<Cache>],
        rows: Attention<'_, Vec<f32>>,
    ) -> Result<(), Infallible> {
        let width = self.heads.kv * self.heads.dim;
        let keys = rows.key.chunks_exact(width);
        let values = rows.value.chunks_exact(width);
        for ((&(sequence, position), key), value) in batch.places.iter().zip(keys).zip(values) {
            caches[sequence][layer].write(position, key, value);
        }
        let caches = &*caches;
        let place = |row: usize| {
            let (sequence, position) = batch.places[row];
            (&caches[sequence][layer], position)
        };
        let out = sized(rows.out, rows.query.len());
        self.compute.attention(self.heads, rows.query, place, out);
        Ok(())
    }

    fn gate(&mut self, gate: &mut Vec<f32>, up: &Vec<f32>) -> Result<(), Infallible> {
        self.compute.silu_gate(gate, up);
        Ok(())
    }

    fn add(&mut self, x: &mut Vec<f32>, y: &Vec<f32>) -> Result<(), Infallible> {
        self.compute.add(x, y);
        Ok(())
    }

    fn pick(
        &mut self,
        x: &Vec<f32>,
        wanted: &[usize],
        out: &mut Vec<f32>,
    ) -> Result<(), Infallible> {
        let width = x.len() / self.positions.len();
        out.clear();
        for &row in wanted {
            out.extend_from_slice(&x[row * width..][..width]);
        }
        Ok(())
    }

    fn host<'a>(&mut self, x: &'a mut Vec<f32>) -> Result<&'a mut [f32], Infallible> {
        Ok(x)
    }
}
