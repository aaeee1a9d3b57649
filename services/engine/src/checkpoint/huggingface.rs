//! `config.json` and `generation_config.json` of a Hugging Face folder.

use std::{fs, path::Path};

use csd_level::Token;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    config::{Architecture, Config},
    rope::{Rope, Scaling},
};
use crate::error::{LoadError, Result};

/// The fields of `config.json` that decide anything here.
#[derive(Deserialize)]
struct Raw {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    hidden_act: Option<String>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    partial_rotary_factor: Option<f64>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    layer_types: Option<Vec<String>>,
    quantization_config: Option<serde_json::Value>,
    eos_token_id: Option<EndTokens>,
}

/// `rope_scaling` of older checkpoints, `rope_parameters` of newer ones.
#[derive(Deserialize)]
struct RawRope {
    rope_type: Option<String>,
    /// The older name of the same field; some checkpoints have both.
    #[serde(rename = "type")]
    older_type: Option<String>,
    partial_rotary_factor: Option<f64>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

#[derive(Deserialize)]
struct RawGeneration {
    eos_token_id: Option<EndTokens>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EndTokens {
    One(Token),
    Many(Vec<Token>),
}

/// The largest configuration that is read: a model's own has some kilobytes.
const LARGEST: u64 = 16 << 20;

/// Reads the configuration of a folder.
///
/// # Errors
/// [`LoadError`] that names the file and the field.
pub(super) fn read(folder: &Path) -> Result<Config> {
    let path = folder.join("config.json");
    let raw: Raw = read_json(&path, LARGEST)?;
    let generation = folder.join("generation_config.json");
    let ends = match generation.exists() {
        true => read_json::<RawGeneration>(&generation, LARGEST)?.eos_token_id,
        false => None,
    };
    let end_tokens = end_tokens(ends.or(raw.eos_token_id.as_ref().map(EndTokens::copied)));
    validate(raw, end_tokens, &path)?.checked(&path)
}

/// Reads a JSON file of at most `most` bytes.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, most: u64) -> Result<T> {
    let len = fs::metadata(path)
        .map_err(|source| LoadError::read(path, source))?
        .len();
    if len > most {
        let reason = format!("expected at most {most} bytes, found {len}");
        return Err(LoadError::malformed(path, reason));
    }
    let text = fs::read(path).map_err(|source| LoadError::read(path, source))?;
    serde_json::from_slice(&text).map_err(|error| LoadError::malformed(path, error))
}

fn validate(raw: Raw, end_tokens: Vec<Token>, path: &Path) -> Result<Config> {
    let unsupported = |field: &str, reason: String| LoadError::unsupported(path, field, reason);
    let architecture = Architecture::named(&raw.model_type).ok_or_else(|| {
        let reason = format!(
            "{}: this engine serves llama, mistral, qwen2 and qwen3",
            raw.model_type
        );
        unsupported("model_type", reason)
    })?;
    if let Some(act) = raw.hidden_act.as_deref().filter(|&act| act != "silu") {
        return Err(unsupported("hidden_act", format!("{act}, not silu")));
    }
    if raw.quantization_config.is_some() {
        let reason = "expected plain weights; use the original checkpoint or a GGUF file";
        return Err(unsupported("quantization_config", reason.into()));
    }
    let of_rope = |rope: &RawRope| rope.partial_rotary_factor;
    let part = raw
        .partial_rotary_factor
        .or(raw.rope_parameters.as_ref().and_then(of_rope));
    if let Some(part) = part.filter(|&part| part != 1.0) {
        return Err(unsupported("partial_rotary_factor", part.to_string()));
    }
    if raw.num_attention_heads == 0 {
        let reason = "expected at least 1, found 0";
        return Err(LoadError::field(path, "num_attention_heads", reason));
    }
    let qwen = matches!(architecture, Architecture::Qwen2 | Architecture::Qwen3);
    let slides = raw.use_sliding_window.unwrap_or(!qwen)
        || raw
            .layer_types
            .iter()
            .flatten()
            .any(|layer| layer == "sliding_attention");
    let attention_bias = raw.attention_bias.unwrap_or(false);
    Ok(Config {
        architecture,
        hidden: raw.hidden_size,
        layers: raw.num_hidden_layers,
        heads: raw.num_attention_heads,
        kv_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
        head_dim: raw
            .head_dim
            .unwrap_or(raw.hidden_size / raw.num_attention_heads),
        ffn: raw.intermediate_size,
        embeddings: raw.vocab_size,
        context: raw.max_position_embeddings,
        epsilon: raw.rms_norm_eps as f32,
        tied: raw.tie_word_embeddings.unwrap_or(false),
        qkv_bias: attention_bias || architecture == Architecture::Qwen2,
        output_bias: attention_bias && architecture != Architecture::Qwen2,
        mlp_bias: raw.mlp_bias.unwrap_or(false),
        head_norm: architecture == Architecture::Qwen3,
        rope: rope(&raw, path)?,
        window: raw.sliding_window.filter(|_| slides),
        end_tokens,
    })
}

fn rope(raw: &Raw, path: &Path) -> Result<Rope> {
    let (field, scaling) = match (&raw.rope_parameters, &raw.rope_scaling) {
        (Some(parameters), _) => ("rope_parameters", Some(parameters)),
        (None, scaling) => ("rope_scaling", scaling.as_ref()),
    };
    let theta = raw
        .rope_theta
        .or(scaling.and_then(|scaling| scaling.rope_theta))
        .unwrap_or(10_000.0);
    let Some(scaling) = scaling else {
        return Ok(Rope {
            theta,
            scaling: Scaling::None,
        });
    };
    let positive = |name: &str, value: Option<f64>| match value {
        Some(value) if value.is_finite() && value > 0.0 => Ok(value),
        found => {
            let reason = format!("expected a positive number, found {found:?}");
            Err(LoadError::field(path, format!("{field}.{name}"), reason))
        }
    };
    let kind = scaling.rope_type.as_ref().or(scaling.older_type.as_ref());
    let scaling = match kind.map_or("default", String::as_str) {
        "default" => Scaling::None,
        "linear" => Scaling::Linear(positive("factor", scaling.factor)?),
        "llama3" => {
            let low = positive("low_freq_factor", scaling.low_freq_factor)?;
            let high = positive("high_freq_factor", scaling.high_freq_factor)?;
            if high <= low {
                let reason = format!("expected more than the low factor {low}, found {high}");
                let field = format!("{field}.high_freq_factor");
                return Err(LoadError::field(path, field, reason));
            }
            let original = scaling.original_max_position_embeddings;
            Scaling::Llama3 {
                factor: positive("factor", scaling.factor)?,
                low,
                high,
                original: positive("original_max_position_embeddings", original)?,
            }
        }
        other => {
            let reason = format!("{other}: this engine scales by linear and llama3");
            let field = format!("{field}.rope_type");
            return Err(LoadError::unsupported(path, field, reason));
        }
    };
    Ok(Rope { theta, scaling })
}

impl EndTokens {
    fn copied(&self) -> Self {
        match self {
            Self::One(token) => Self::One(*token),
            Self::Many(tokens) => Self::Many(tokens.clone()),
        }
    }
}

fn end_tokens(tokens: Option<EndTokens>) -> Vec<Token> {
    let mut tokens = match tokens {
        None => Vec::new(),
        Some(EndTokens::One(token)) => vec![token],
        Some(EndTokens::Many(tokens)) => tokens,
    };
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}
