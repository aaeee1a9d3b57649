//! Keys and values of one sequence on candle's device.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};

use crate::decoder::backend::Sequence;

/// Positions by which a cache grows.
const PAGE: usize = 256;

/// Keys and values of all layers, each `kv_heads × capacity × dim`, written in place and cut back by overwriting.
pub(crate) struct Cache {
    layers: Vec<(Tensor, Tensor)>,
    /// Copies of this say that another sequence reads the same tensors: they are copied before they are written.
    shared: Arc<()>,
    count: usize,
    kv_heads: usize,
    dim: usize,
    capacity: usize,
    /// Positions that there should be room for at the next write.
    wanted: usize,
    device: Device,
}

impl Cache {
    pub(super) fn new(count: usize, kv_heads: usize, dim: usize, device: &Device) -> Self {
        Self {
            layers: Vec::new(),
            shared: Arc::default(),
            count,
            kv_heads,
            dim,
            capacity: 0,
            wanted: 0,
            device: device.clone(),
        }
    }

    /// Writes new positions, `kv_heads × rows × dim`, and gives all keys and values up to them.
    pub(super) fn write(
        &mut self,
        layer: usize,
        position: usize,
        key: &Tensor,
        value: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let len = position + key.dim(1)?;
        self.wanted = self.wanted.max(len);
        if self.capacity < self.wanted || Arc::strong_count(&self.shared) > 1 {
            self.copy()?;
        }
        let (keys, values) = &self.layers[layer];
        keys.slice_set(key, 1, position)?;
        values.slice_set(value, 1, position)?;
        Ok((keys.narrow(1, 0, len)?, values.narrow(1, 0, len)?))
    }

    /// Moves everything to tensors of its own, large enough.
    fn copy(&mut self) -> Result<()> {
        let capacity = self.wanted.max(self.capacity).next_multiple_of(PAGE);
        let shape = (self.kv_heads, capacity, self.dim);
        let mut layers = Vec::with_capacity(self.count);
        for layer in 0..self.count {
            let room = || Tensor::zeros(shape, DType::F32, &self.device);
            let (keys, values) = (room()?, room()?);
            if let Some((old_keys, old_values)) = self.layers.get(layer) {
                keys.slice_set(old_keys, 1, 0)?;
                values.slice_set(old_values, 1, 0)?;
            }
            layers.push((keys, values));
        }
        (self.layers, self.capacity, self.shared) = (layers, capacity, Arc::default());
        Ok(())
    }
}

impl Sequence for Cache {
    fn fork(&self, _len: usize) -> Self {
        Self {
            layers: self.layers.clone(),
            shared: self.shared.clone(),
            device: self.device.clone(),
            ..*self
        }
    }

    fn reserve(&mut self, len: usize) {
        self.wanted = len;
    }

    fn shrink(&mut self, len: usize) {
        if len == 0 {
            (self.layers, self.capacity, self.shared) = (Vec::new(), 0, Arc::default());
        }
    }

    fn bytes(&self) -> usize {
        self.bytes_for(self.capacity.max(self.wanted))
    }

    fn bytes_for(&self, len: usize) -> usize {
        len.div_ceil(PAGE)
            .saturating_mul(PAGE * 2 * size_of::<f32>())
            .saturating_mul(self.kv_heads * self.dim)
            .saturating_mul(self.count)
    }
}
