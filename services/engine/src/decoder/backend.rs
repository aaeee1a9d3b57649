//! The handful of operations that a forward is made of.

use csd_level::Token;

use crate::{checkpoint::weights::Weight, error::Result};

/// A linear layer.
pub(crate) struct Linear<B: Backend + ?Sized> {
    pub(crate) matrix: B::Matrix,
    pub(crate) bias: Option<B::Vector>,
}

/// The new positions of several sequences: row r is token `tokens[r]` at `places[r]`.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) tokens: Vec<Token>,
    /// Of each row: the index of its sequence's cache, and its position there. Rows of a sequence come in ascending
    /// order of position, each following on the last or on what the cache holds.
    pub(crate) places: Vec<(usize, usize)>,
    /// The rows whose logits are wanted, ascending.
    pub(crate) wanted: Vec<usize>,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.places.clear();
        self.wanted.clear();
    }
}

/// Keys and values of one sequence, in all layers.
pub(crate) trait Sequence {
    /// Another sequence that begins with the first `len` positions of this one.
    fn fork(&self, len: usize) -> Self;
    /// Makes room for `len` positions in all.
    fn reserve(&mut self, len: usize);
    /// Gives back what lies wholly behind the first `len` positions.
    fn shrink(&mut self, len: usize);
    /// Bytes held.
    fn bytes(&self) -> usize;
    /// Bytes held once there is room for `len` positions.
    fn bytes_for(&self, len: usize) -> usize;
}

/// What computes. Activations are `rows × width`, row by row; outputs are overwritten, whatever they held.
pub(crate) trait Backend: Send + 'static {
    /// Weights of `outputs × inputs`.
    type Matrix: Send;
    /// A norm's weights or a bias.
    type Vector: Send;
    /// Activations. Buffers are kept from forward to forward, so that none is allocated.
    type Rows: Default + Send + 'static;
    /// Keys and values of one sequence.
    type Cache: Sequence + Send;
    /// What can go wrong in a forward.
    type Error: std::fmt::Display;

    /// Takes a matrix in.
    fn matrix(&mut self, weight: Weight<'_>) -> Result<Self::Matrix>;
    /// Takes a vector in.
    fn vector(&mut self, values: Vec<f32>) -> Result<Self::Vector>;
    /// An empty sequence.
    fn cache(&self) -> Self::Cache;
    /// Bytes of a matrix.
    fn matrix_bytes(matrix: &Self::Matrix) -> usize;

    /// Prepares what depends on the positions alone.
    fn begin(&mut self, batch: &Batch) -> Result<(), Self::Error>;
    /// `out[r]` = row `tokens[r]` of the table.
    fn embed(
        &mut self,
        table: &Self::Matrix,
        tokens: &[Token],
        out: &mut Self::Rows,
    ) -> Result<(), Self::Error>;
    /// `out` = `x` times each layer's matrix, plus its bias.
    fn linear<const N: usize>(
        &mut self,
        layers: [(&Linear<Self>, &mut Self::Rows); N],
        x: &Self::Rows,
    ) -> Result<(), Self::Error>;
    /// Root mean square norm of every row, or of every head where `weight` is as long as a head.
    fn norm(
        &mut self,
        x: &Self::Rows,
        weight: &Self::Vector,
        out: &mut Self::Rows,
    ) -> Result<(), Self::Error>;
    /// Turns every head of every row by its position's angles.
    fn rope(&mut self, x: &mut Self::Rows) -> Result<(), Self::Error>;
    /// Writes the rows' keys and values into their caches, then `out[r]` = attention of `query[r]` over 0 ..= its
    /// position.
    fn attention(
        &mut self,
        layer: usize,
        batch: &Batch,
        caches: &mut [&mut Self::Cache],
        rows: Attention<'_, Self::Rows>,
    ) -> Result<(), Self::Error>;
    /// `gate = silu(gate) · up`.
    fn gate(&mut self, gate: &mut Self::Rows, up: &Self::Rows) -> Result<(), Self::Error>;
    /// `x = x + y`.
    fn add(&mut self, x: &mut Self::Rows, y: &Self::Rows) -> Result<(), Self::Error>;
    /// `out[i]` = row `wanted[i]` of `x`.
    fn pick(
        &mut self,
        x: &Self::Rows,
        wanted: &[usize],
        out: &mut Self::Rows,
    ) -> Result<(), Self::Error>;
    /// Brings activations to where reviews read them.
    fn host<'a>(&mut self, x: &'a mut Self::Rows) -> Result<&'a mut [f32], Self::Error>;
}

/// The rows of an attention layer.
pub(crate) struct Attention<'a, R> {
    pub(crate) query: &'a R,
    pub(crate) key: &'a R,
    pub(crate) value: &'a R,
    pub(crate) out: &'a mut R,
}
