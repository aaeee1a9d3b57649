//! The primitives of a GGUF header, each held against what is left of the file.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use candle_core::quantized::GgmlDType;

use crate::{
    checkpoint::tensors::Source,
    error::{LoadError, Result},
};

/// A tensor as the header announces it.
pub(super) struct Info {
    pub(super) name: String,
    pub(super) format: GgmlDType,
    /// Outermost dimension first (the file has it the other way round).
    pub(super) shape: Vec<usize>,
    pub(super) offset: u64,
}

/// Reads a header from front to back.
pub(super) struct Reader<'a> {
    pub(super) path: &'a Path,
    file: BufReader<&'a File>,
    len: u64,
    position: u64,
}

/// The longest name of a key or tensor.
const LONGEST_NAME: u64 = 1 << 16;
/// Bytes of the shortest tensor entry: a name's length, dimensions, type, offset.
const SHORTEST_TENSOR: u64 = 8 + 4 + 4 + 8;
/// Bytes of the shortest metadata entry: a key's length, a type, a value.
const SHORTEST_VALUE: u64 = 8 + 4 + 1;

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self {
            path: &source.path,
            file: BufReader::with_capacity(1 << 18, &source.file),
            len: source.len,
            position: 0,
        }
    }

    /// Magic, version and the two counts: tensors, then metadata values.
    pub(super) fn preamble(&mut self) -> Result<(u64, u64)> {
        let magic = self.array::<4>()?;
        if &magic != b"GGUF" {
            return Err(self.malformed(format!("expected a GGUF file, found magic {magic:02x?}")));
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            let reason = format!("{version}, not 2 or 3");
            return Err(LoadError::unsupported(self.path, "version", reason));
        }
        let tensors = self.count(SHORTEST_TENSOR, "tensors")?;
        let values = self.count(SHORTEST_VALUE, "metadata values")?;
        Ok((tensors, values))
    }

    pub(super) fn tensors(&mut self, count: u64) -> Result<Vec<Info>> {
        (0..count).map(|_| self.tensor()).collect()
    }

    fn tensor(&mut self) -> Result<Info> {
        let name = self.text(LONGEST_NAME)?;
        let dimensions = self.u32()?;
        if !(1..=4).contains(&dimensions) {
            let found = format!("{dimensions}");
            return Err(LoadError::tensor(
                self.path,
                &name,
                "1 to 4 dimensions",
                found,
            ));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = self.u64()?;
            shape.push(usize::try_from(size).unwrap_or(usize::MAX));
        }
        shape.reverse();
        let number = self.u32()?;
        let Some(format) = format(number) else {
            let found = format!("type {number}");
            return Err(LoadError::tensor(
                self.path,
                &name,
                "a type that is served",
                found,
            ));
        };
        let offset = self.u64()?;
        Ok(Info {
            name,
            format,
            shape,
            offset,
        })
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn malformed(&self, reason: String) -> LoadError {
        let reason = format!("{reason} (at byte {})", self.position);
        LoadError::malformed(self.path, reason)
    }

    /// A count of things of at least `smallest` bytes each.
    pub(super) fn count(&mut self, smallest: u64, things: &str) -> Result<u64> {
        let count = self.u64()?;
        let left = self.len - self.position;
        if count > left / smallest {
            let reason = format!("{count} {things} announced, and {left} bytes left");
            return Err(self.malformed(reason));
        }
        Ok(count)
    }

    pub(super) fn key(&mut self) -> Result<String> {
        self.text(LONGEST_NAME)
    }

    pub(super) fn text(&mut self, longest: u64) -> Result<String> {
        let len = self.count(1, "bytes of text")?;
        if len > longest {
            return Err(self.malformed(format!("a text of {len} bytes")));
        }
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Passes over bytes.
    pub(super) fn skip(&mut self, len: u64) -> Result<()> {
        let offset = i64::try_from(len)
            .ok()
            .filter(|_| len <= self.len - self.position);
        let Some(offset) = offset else {
            return Err(self.malformed(format!("{len} bytes announced beyond the end")));
        };
        self.file
            .seek_relative(offset)
            .map_err(|error| LoadError::read(self.path, error))?;
        self.position += len;
        Ok(())
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        if bytes.len() as u64 > self.len - self.position {
            return Err(self.malformed("the header is cut short".into()));
        }
        self.file
            .read_exact(bytes)
            .map_err(|error| LoadError::read(self.path, error))?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// ggml's numbers of the types that weights come in.
fn format(number: u32) -> Option<GgmlDType> {
    Some(match number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}
