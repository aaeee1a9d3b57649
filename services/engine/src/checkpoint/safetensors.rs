//! The headers of safetensors files: one, or several with an index.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::FileExt,
    path::{Component, Path},
};

use candle_core::quantized::GgmlDType;
use safetensors::{Dtype, tensor::Metadata};
use serde::Deserialize;

use super::{
    huggingface::read_json,
    tensors::{Source, Stored, Tensors},
};
use crate::error::{LoadError, Result};

/// The largest header that is read: the format's own limit.
const LARGEST: u64 = 100_000_000;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens `model.safetensors`, or the files that `model.safetensors.index.json` names.
///
/// # Errors
/// [`LoadError`] that names the file, and the tensor where it is one.
pub(super) fn open(folder: &Path) -> Result<Tensors> {
    let mut tensors = Tensors::default();
    let index = folder.join("model.safetensors.index.json");
    if !index.exists() {
        read_header(&folder.join("model.safetensors"), &mut tensors)?;
        return Ok(tensors);
    }
    let Index { weight_map } = read_json(&index, LARGEST)?;
    for name in weight_map.values().collect::<BTreeSet<_>>() {
        let parts: Vec<_> = Path::new(name).components().collect();
        if !matches!(parts[..], [Component::Normal(_)]) {
            let reason = format!("expected names of files beside it, found {name:?}");
            return Err(LoadError::field(&index, "weight_map", reason));
        }
        read_header(&folder.join(name), &mut tensors)?;
    }
    for (tensor, file) in &weight_map {
        if tensors.get(tensor).is_none() {
            let path = folder.join(file);
            let tensor = tensor.clone();
            return Err(LoadError::MissingTensor { path, tensor });
        }
    }
    Ok(tensors)
}

/// Reads the header of one file and adds its tensors.
pub(crate) fn read_header(path: &Path, tensors: &mut Tensors) -> Result<()> {
    let source = Source::open(path)?;
    let mut prefix = [0; 8];
    let malformed = |reason: String| LoadError::malformed(path, reason);
    if source.len < 8 {
        return Err(malformed(format!(
            "expected a header, found {} bytes",
            source.len
        )));
    }
    let failed = |error| LoadError::read(path, error);
    source.file.read_exact_at(&mut prefix, 0).map_err(failed)?;
    let header_len = u64::from_le_bytes(prefix);
    if header_len > LARGEST.min(source.len - 8) {
        return Err(malformed(format!(
            "the header says it has {header_len} bytes; the file has {}",
            source.len
        )));
    }
    let mut header = vec![0; header_len as usize];
    source.file.read_exact_at(&mut header, 8).map_err(failed)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| malformed(format!("its header: {error}")))?;
    drop(header);
    tensors.sources.push(source);
    let source = tensors.sources.len() - 1;
    for (name, info) in metadata.tensors() {
        let Some(format) = format(info.dtype) else {
            // Buffers that old checkpoints carry (rotary tables, masks) come in other types and are never asked for;
            // a weight in such a type is reported as missing.
            continue;
        };
        let (start, end) = info.data_offsets;
        let stored = Stored {
            source,
            offset: (8 + header_len).saturating_add(start as u64),
            format,
            shape: info.shape.clone(),
        };
        let numbers = info
            .shape
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size));
        let expected = numbers.and_then(|numbers| numbers.checked_mul(format.type_size()));
        if end.checked_sub(start) != expected || expected.is_none() {
            let expected = format!("{} {:?}", info.dtype, info.shape);
            let found = format!("offsets {start} to {end}");
            return Err(LoadError::tensor(path, &name, expected, found));
        }
        tensors.insert(name, stored)?;
    }
    Ok(())
}

fn format(dtype: Dtype) -> Option<GgmlDType> {
    Some(match dtype {
        Dtype::F32 => GgmlDType::F32,
        Dtype::F16 => GgmlDType::F16,
        Dtype::BF16 => GgmlDType::BF16,
        _ => return None,
    })
}
