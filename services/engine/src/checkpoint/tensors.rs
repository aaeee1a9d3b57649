//! Tensors where they lie in their files, read row by row.
//!
//! Rows come through positioned reads into one modest buffer. Neither the file nor a whole tensor is ever in memory, so
//! that loading peaks at little more than the packed weights.

use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use candle_core::{Device, quantized::GgmlDType, quantized::ggml_file::qtensor_from_ggml};
use half::{bf16, f16};

use crate::error::{LoadError, Result};

/// Bytes that are read at once, when a row is no longer than that.
const BUFFER: usize = 1 << 20;

/// A file that tensors lie in.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) len: u64,
}

/// Where a tensor lies, and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Index of its file.
    pub(super) source: usize,
    /// From the start of the file, in bytes.
    pub(super) offset: u64,
    /// The type of its numbers.
    pub(super) format: GgmlDType,
    /// Outermost dimension first.
    pub(super) shape: Vec<usize>,
}

/// The tensors of a checkpoint by name, each inside its file.
#[derive(Debug, Default)]
pub(super) struct Tensors {
    pub(super) sources: Vec<Source>,
    table: HashMap<String, Stored>,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |error| LoadError::read(path, error);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(LoadError::malformed(path, "expected a file"));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            len: metadata.len(),
        })
    }
}

impl Tensors {
    /// Adds a tensor whose bytes must lie inside its file.
    pub(super) fn insert(&mut self, name: String, tensor: Stored) -> Result<()> {
        let source = &self.sources[tensor.source];
        let Some(len) = byte_len(&tensor) else {
            let blocks = format!("whole blocks of {}", tensor.format.block_size());
            let found = format!("shape {:?}", tensor.shape);
            return Err(LoadError::tensor(&source.path, &name, blocks, found));
        };
        if tensor
            .offset
            .checked_add(len)
            .is_none_or(|end| end > source.len)
        {
            let expected = format!("{len} bytes from offset {}", tensor.offset);
            let found = format!("a file of {} bytes", source.len);
            return Err(LoadError::tensor(&source.path, &name, expected, found));
        }
        self.table.insert(name, tensor);
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Stored> {
        self.table.get(name)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The first bytes of a tensor, as far as the buffer goes.
    pub(super) fn first<'b>(&self, tensor: &Stored, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
        let source = &self.sources[tensor.source];
        let len = byte_len(tensor).unwrap_or(0).min(buffer.len() as u64) as usize;
        source
            .file
            .read_exact_at(&mut buffer[..len], tensor.offset)
            .map_err(|error| LoadError::read(&source.path, error))?;
        Ok(&buffer[..len])
    }

    /// Names and tensors in order of name.
    pub(super) fn sorted(&self) -> Vec<(&str, &Stored)> {
        let mut all: Vec<_> = self.table.iter().map(|(n, t)| (n.as_str(), t)).collect();
        all.sort_unstable_by_key(|&(name, _)| name);
        all
    }

    /// The rows of a tensor; a vector is one row.
    pub(super) fn rows<'a>(&'a self, name: &'a str, tensor: &'a Stored) -> Rows<'a> {
        let inputs = tensor.shape.last().copied().unwrap_or(1);
        let row_bytes = inputs / tensor.format.block_size() * tensor.format.type_size();
        let rows = tensor.shape.iter().rev().skip(1).product();
        Rows {
            source: &self.sources[tensor.source],
            name,
            tensor,
            inputs,
            row_bytes,
            rows,
            bytes: Vec::new(),
            decoded: Vec::new(),
            window: 0..0,
        }
    }
}

/// Bytes of a tensor whose rows are whole blocks.
fn byte_len(tensor: &Stored) -> Option<u64> {
    let inputs = tensor.shape.last().copied().unwrap_or(1);
    if !inputs.is_multiple_of(tensor.format.block_size()) {
        return None;
    }
    let numbers = tensor
        .shape
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(size as u64))?;
    (numbers / tensor.format.block_size() as u64).checked_mul(tensor.format.type_size() as u64)
}

/// Reads a tensor's rows in any order, best in ascending one.
pub(crate) struct Rows<'a> {
    source: &'a Source,
    name: &'a str,
    tensor: &'a Stored,
    inputs: usize,
    row_bytes: usize,
    rows: usize,
    bytes: Vec<u8>,
    /// The window as floats, where blocks are decoded many at a time.
    decoded: Vec<f32>,
    window: std::ops::Range<usize>,
}

impl Rows<'_> {
    /// The bytes of a row as they stand in the file.
    pub(crate) fn raw(&mut self, row: usize) -> Result<&[u8]> {
        self.fill(row)?;
        Ok(&self.bytes[(row - self.window.start) * self.row_bytes..][..self.row_bytes])
    }

    /// The numbers of a row.
    pub(crate) fn read(&mut self, row: usize, into: &mut [f32]) -> Result<()> {
        match self.tensor.format {
            GgmlDType::F32 => decode(self.raw(row)?, into, f32::from_le_bytes),
            GgmlDType::F16 => decode(self.raw(row)?, into, |b| f16::from_le_bytes(b).to_f32()),
            GgmlDType::BF16 => decode(self.raw(row)?, into, |b| bf16::from_le_bytes(b).to_f32()),
            _ => {
                self.fill(row)?;
                let start = (row - self.window.start) * self.inputs;
                into.copy_from_slice(&self.decoded[start..][..self.inputs]);
            }
        }
        Ok(())
    }

    /// Brings a window of rows that begins with `row` into the buffer, unless it is there.
    fn fill(&mut self, row: usize) -> Result<()> {
        if self.window.contains(&row) {
            return Ok(());
        }
        let count = (BUFFER / self.row_bytes.max(1)).clamp(1, self.rows - row);
        self.window = 0..0;
        self.bytes.resize(count * self.row_bytes, 0);
        let offset = self.tensor.offset + (row * self.row_bytes) as u64;
        self.source
            .file
            .read_exact_at(&mut self.bytes, offset)
            .map_err(|error| LoadError::read(&self.source.path, error))?;
        if !matches!(
            self.tensor.format,
            GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16
        ) {
            self.decode_blocks(count).map_err(|error| {
                LoadError::tensor(&self.source.path, self.name, "readable blocks", error)
            })?;
        }
        self.window = row..row + count;
        Ok(())
    }

    fn decode_blocks(&mut self, count: usize) -> candle_core::Result<()> {
        let shape = vec![count, self.inputs];
        let blocks = qtensor_from_ggml(self.tensor.format, &self.bytes, shape, &Device::Cpu)?;
        self.decoded = blocks.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        Ok(())
    }
}

fn decode<const N: usize>(bytes: &[u8], into: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    for (value, bytes) in into.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *value = number(*bytes);
    }
}
