//! The decoder: built from a checkpoint, and its forward over the new positions of several sequences.

use super::backend::{Attention, Backend, Batch, Linear};
use crate::{
    checkpoint::{
        Checkpoint,
        config::Config,
        part::{Part, Piece},
        weights::{Loader, Weights},
    },
    error::Result,
};

/// A decoder of the Llama kind on some back end.
pub(crate) struct Decoder<B: Backend> {
    pub(crate) config: Config,
    pub(crate) backend: B,
    embedding: Linear<B>,
    layers: Vec<Layer<B>>,
    norm: B::Vector,
    /// Absent where the embedding is the output layer, too.
    head: Option<Linear<B>>,
    rows: Buffers<B::Rows>,
}

struct Layer<B: Backend> {
    attention_norm: B::Vector,
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    head_norms: Option<(B::Vector, B::Vector)>,
    output: Linear<B>,
    mlp_norm: B::Vector,
    gate: Linear<B>,
    up: Linear<B>,
    down: Linear<B>,
}

/// Activations between the operations, kept from forward to forward.
#[derive(Default)]
struct Buffers<R> {
    stream: R,
    normed: R,
    query: R,
    key: R,
    value: R,
    spare: R,
    mixed: R,
    gate: R,
    up: R,
    logits: R,
}

impl<B: Backend> Decoder<B> {
    /// Reads the weights of a checkpoint. Also tells which tensors are held in another type than asked for.
    ///
    /// # Errors
    /// [`crate::LoadError`] that names the first tensor that is missing or does not fit the configuration.
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        weights: Weights,
        mut backend: B,
    ) -> Result<(Self, Vec<String>)> {
        let config = checkpoint.config.clone();
        let mut loader = Loader::new(checkpoint, weights);
        let mut build = Builder {
            loader: &mut loader,
            backend: &mut backend,
            layer: 0,
        };
        let (hidden, ffn) = (config.hidden, config.ffn);
        let (query, kv, dim) = (config.query_width(), config.kv_width(), config.head_dim);
        let embedding = build.linear(Part::Embedding, config.embeddings, hidden, false)?;
        let head = match config.tied {
            true => None,
            false => Some(build.linear(Part::Head, config.embeddings, hidden, false)?),
        };
        let norm = build.norm(Part::FinalNorm, hidden)?;
        let mut layers = Vec::new();
        for layer in 0..config.layers {
            build.layer = layer;
            layers.push(Layer {
                attention_norm: build.norm(Part::AttentionNorm, hidden)?,
                query: build.linear(Part::Query, query, hidden, config.qkv_bias)?,
                key: build.linear(Part::Key, kv, hidden, config.qkv_bias)?,
                value: build.linear(Part::Value, kv, hidden, config.qkv_bias)?,
                head_norms: match config.head_norm {
                    true => Some((
                        build.norm(Part::QueryNorm, dim)?,
                        build.norm(Part::KeyNorm, dim)?,
                    )),
                    false => None,
                },
                output: build.linear(Part::Output, hidden, query, config.output_bias)?,
                mlp_norm: build.norm(Part::MlpNorm, hidden)?,
                gate: build.linear(Part::Gate, ffn, hidden, config.mlp_bias)?,
                up: build.linear(Part::Up, ffn, hidden, config.mlp_bias)?,
                down: build.linear(Part::Down, hidden, ffn, config.mlp_bias)?,
            });
        }
        let decoder = Self {
            config,
            backend,
            embedding,
            layers,
            norm,
            head,
            rows: Buffers::default(),
        };
        Ok((decoder, loader.fallbacks()))
    }

    /// Computes the batch's rows and writes their keys and values into the caches. Returns the logits of the wanted
    /// rows, one after the other, padding of the output layer included.
    pub(crate) fn forward(
        &mut self,
        batch: &Batch,
        caches: &mut [&mut B::Cache],
    ) -> Result<&mut [f32], B::Error> {
        let (ops, rows) = (&mut self.backend, &mut self.rows);
        ops.begin(batch)?;
        ops.embed(&self.embedding.matrix, &batch.tokens, &mut rows.stream)?;
        for (index, layer) in self.layers.iter().enumerate() {
            ops.norm(&rows.stream, &layer.attention_norm, &mut rows.normed)?;
            let projections = [
                (&layer.query, &mut rows.query),
                (&layer.key, &mut rows.key),
                (&layer.value, &mut rows.value),
            ];
            ops.linear(projections, &rows.normed)?;
            if let Some((query, key)) = &layer.head_norms {
                ops.norm(&rows.query, query, &mut rows.spare)?;
                std::mem::swap(&mut rows.query, &mut rows.spare);
                ops.norm(&rows.key, key, &mut rows.spare)?;
                std::mem::swap(&mut rows.key, &mut rows.spare);
            }
            ops.rope(&mut rows.query)?;
            ops.rope(&mut rows.key)?;
            let attention = Attention {
                query: &rows.query,
                key: &rows.key,
                value: &rows.value,
                out: &mut rows.mixed,
            };
            ops.attention(index, batch, caches, attention)?;
            ops.linear([(&layer.output, &mut rows.normed)], &rows.mixed)?;
            ops.add(&mut rows.stream, &rows.normed)?;

            ops.norm(&rows.stream, &layer.mlp_norm, &mut rows.normed)?;
            let gated = [(&layer.gate, &mut rows.gate), (&layer.up, &mut rows.up)];
            ops.linear(gated, &rows.normed)?;
            ops.gate(&mut rows.gate, &rows.up)?;
            ops.linear([(&layer.down, &mut rows.normed)], &rows.gate)?;
            ops.add(&mut rows.stream, &rows.normed)?;
        }
        if batch.wanted.is_empty() {
            return Ok(&mut []);
        }
        ops.pick(&rows.stream, &batch.wanted, &mut rows.spare)?;
        ops.norm(&rows.spare, &self.norm, &mut rows.normed)?;
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        ops.linear([(head, &mut rows.logits)], &rows.normed)?;
        ops.host(&mut rows.logits)
    }

    /// Bytes of all matrices.
    pub(crate) fn weight_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(|layer| {
            [
                &layer.query,
                &layer.key,
                &layer.value,
                &layer.output,
                &layer.gate,
                &layer.up,
                &layer.down,
            ]
        });
        layers
            .chain([&self.embedding])
            .chain(&self.head)
            .map(|linear| B::matrix_bytes(&linear.matrix))
            .sum()
    }
}

struct Builder<'a, 'b, B> {
    loader: &'a mut Loader<'b>,
    backend: &'a mut B,
    layer: usize,
}

impl<B: Backend> Builder<'_, '_, B> {
    fn linear(
        &mut self,
        part: Part,
        outputs: usize,
        inputs: usize,
        bias: bool,
    ) -> Result<Linear<B>> {
        let shape = (outputs, inputs);
        let pack = |weight: crate::checkpoint::weights::Weight<'_>| self.backend.matrix(weight);
        let matrix = self.loader.matrix(part, self.layer, shape, pack)?;
        let bias = match bias {
            true => {
                let values = self.loader.vector(part, self.layer, Piece::Bias, outputs)?;
                Some(self.backend.vector(values)?)
            }
            false => None,
        };
        Ok(Linear { matrix, bias })
    }

    fn norm(&mut self, part: Part, len: usize) -> Result<B::Vector> {
        let values = self.loader.vector(part, self.layer, Piece::Weight, len)?;
        self.backend.vector(values)
    }
}
