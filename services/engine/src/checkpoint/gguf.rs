//! The header of a GGUF file: metadata, token list and tensor table.
//!
//! Our own reader, and a suspicious one: every count and length is held against what is left of the file before anything
//! is allocated for it, and lists that nobody asks for (merges, scores) are passed over.

mod metadata;
mod reader;

use std::path::Path;

use csd_level::Token;

use self::{
    metadata::Metadata,
    reader::{Info, Reader},
};
use super::{
    config::{Architecture, Config},
    part::{Naming, Part, Piece},
    rope::{Rope, Scaling},
    tensors::{Source, Stored, Tensors},
    tokens::TokenMap,
};
use crate::error::{LoadError, Result};

/// Opens a GGUF file.
///
/// # Errors
/// [`LoadError`] that names the key or tensor at fault.
pub(super) fn open(path: &Path) -> Result<(Config, TokenMap, Tensors)> {
    let source = Source::open(path)?;
    let (metadata, infos, start) = header(&source)?;
    let mut tensors = Tensors::default();
    tensors.sources.push(source);
    for info in infos {
        let stored = Stored {
            source: 0,
            offset: start.saturating_add(info.offset),
            format: info.format,
            shape: info.shape,
        };
        tensors.insert(info.name, stored)?;
    }
    let config = config(path, &metadata, &tensors)?;
    let tokens = metadata.tokens().ok_or_else(|| {
        LoadError::field(
            path,
            "tokenizer.ggml.tokens",
            "expected a list of tokens, found none",
        )
    })?;
    Ok((config, tokens, tensors))
}

/// Metadata, tensor table, and where the tensors' data begins.
fn header(source: &Source) -> Result<(Metadata, Vec<Info>, u64)> {
    let mut reader = Reader::new(source);
    let (tensor_count, value_count) = reader.preamble()?;
    let metadata = Metadata::read(&mut reader, value_count)?;
    let infos = reader.tensors(tensor_count)?;
    let alignment = metadata.number("general.alignment")?.unwrap_or(32);
    if !(1..=1 << 20).contains(&alignment) {
        let reason = format!("expected 1 to {}, found {alignment}", 1 << 20);
        return Err(LoadError::field(&source.path, "general.alignment", reason));
    }
    let start = reader.position().next_multiple_of(alignment as u64);
    Ok((metadata, infos, start))
}

fn config(path: &Path, metadata: &Metadata, tensors: &Tensors) -> Result<Config> {
    let name = metadata.text("general.architecture")?.unwrap_or_default();
    let Some(architecture) = Architecture::named(name) else {
        let reason = format!("{name:?}: this engine serves llama, qwen2 and qwen3");
        let field = "general.architecture";
        return Err(LoadError::unsupported(path, field, reason));
    };
    if metadata
        .number("split.count")?
        .is_some_and(|count| count > 1)
    {
        let reason = "the model is split over several files: merge them first";
        return Err(LoadError::unsupported(path, "split.count", reason));
    }
    let key = |name_: &str| format!("{name}.{name_}");
    let optional = |field: &str| metadata.number(&key(field));
    let required =
        |field: &str| optional(field)?.ok_or_else(|| LoadError::field(path, key(field), "missing"));
    let heads = required("attention.head_count")?;
    let hidden = required("embedding_length")?;
    let head_dim = match optional("attention.key_length")? {
        Some(dim) => dim,
        None => hidden.checked_div(heads).unwrap_or(0),
    };
    for field in ["attention.value_length", "rope.dimension_count"] {
        if let Some(found) = optional(field)?.filter(|&found| found != head_dim) {
            let reason = format!("expected the head size {head_dim}, found {found}");
            return Err(LoadError::unsupported(path, key(field), reason));
        }
    }
    let embedding = Part::Embedding.name(Naming::Gguf, 0, Piece::Weight);
    let embeddings = match tensors.get(&embedding).map(|tensor| &tensor.shape[..]) {
        Some(&[rows, _]) => rows,
        _ => return Err(missing(path, embedding)),
    };
    let has = |part: Part, piece| tensors.get(&part.name(Naming::Gguf, 0, piece)).is_some();
    let epsilon = key("attention.layer_norm_rms_epsilon");
    Config {
        architecture,
        hidden,
        layers: required("block_count")?,
        heads,
        kv_heads: optional("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        ffn: required("feed_forward_length")?,
        embeddings,
        context: required("context_length")?,
        epsilon: metadata
            .real(&epsilon)?
            .ok_or_else(|| LoadError::field(path, &epsilon, "missing"))? as f32,
        tied: !has(Part::Head, Piece::Weight),
        qkv_bias: has(Part::Query, Piece::Bias),
        output_bias: has(Part::Output, Piece::Bias),
        mlp_bias: has(Part::Down, Piece::Bias),
        head_norm: has(Part::QueryNorm, Piece::Weight),
        rope: rope(path, name, metadata, tensors)?,
        window: optional("attention.sliding_window")?.filter(|&window| window > 0),
        end_tokens: end_tokens(metadata)?,
    }
    .checked(path)
}

fn missing(path: &Path, tensor: String) -> LoadError {
    let path = path.to_owned();
    LoadError::MissingTensor { path, tensor }
}

fn rope(path: &Path, name: &str, metadata: &Metadata, tensors: &Tensors) -> Result<Rope> {
    let key = |field: &str| format!("{name}.rope.{field}");
    let theta = metadata.real(&key("freq_base"))?.unwrap_or(10_000.0);
    let divisors = "rope_freqs.weight";
    if let Some(tensor) = tensors.get(divisors) {
        let [len] = tensor.shape[..] else {
            let found = format!("shape {:?}", tensor.shape);
            return Err(LoadError::tensor(path, divisors, "a vector", found));
        };
        if len > 1 << 16 {
            let found = format!("{len} numbers");
            return Err(LoadError::tensor(path, divisors, "half a head", found));
        }
        let mut values = vec![0.0; len];
        if len > 0 {
            tensors.rows(divisors, tensor).read(0, &mut values)?;
        }
        let scaling = Scaling::Divisors(values);
        return Ok(Rope { theta, scaling });
    }
    let kind = key("scaling.type");
    let scaling = match metadata.text(&kind)?.unwrap_or("none") {
        "none" => Scaling::None,
        "linear" => {
            let field = key("scaling.factor");
            match metadata.real(&field)?.unwrap_or(1.0) {
                factor if factor.is_finite() && factor > 0.0 => Scaling::Linear(factor),
                found => {
                    let reason = format!("expected a positive number, found {found}");
                    return Err(LoadError::field(path, field, reason));
                }
            }
        }
        other => {
            let reason = format!("{other}: this engine scales by linear and llama3");
            return Err(LoadError::unsupported(path, kind, reason));
        }
    };
    Ok(Rope { theta, scaling })
}

/// The end of sequence, and the end of a turn or message where the file names one.
fn end_tokens(metadata: &Metadata) -> Result<Vec<Token>> {
    let mut ends = Vec::new();
    for key in ["eos", "eot", "eom"] {
        let key = format!("tokenizer.ggml.{key}_token_id");
        if let Some(token) = metadata.number(&key)? {
            ends.push(Token::try_from(token).unwrap_or(Token::MAX));
        }
    }
    ends.extend(metadata.end_token_list());
    ends.sort_unstable();
    ends.dedup();
    Ok(ends)
}
