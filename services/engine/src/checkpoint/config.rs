//! The shape of a model, whatever file it was read from.

use std::path::Path;

use csd_level::Token;

use super::rope::Rope;
use crate::error::{LoadError, Result};

/// The family, where that makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3, TinyLlama, and whatever calls itself so.
    Llama,
    /// Mistral: Llama, trained with a sliding window at times.
    Mistral,
    /// Qwen 2: biases on query, key and value.
    Qwen2,
    /// Qwen 3: norms on each query and key head.
    Qwen3,
}

impl Architecture {
    /// The one of this name in a configuration (`model_type`) or a GGUF header (`general.architecture`).
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "llama" => Self::Llama,
            "mistral" => Self::Mistral,
            "qwen2" => Self::Qwen2,
            "qwen3" => Self::Qwen3,
            _ => return None,
        })
    }
}

/// A decoder's shape. Sizes have been checked against each other: see [`Config::checked`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The family.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads, each shared by as many query heads.
    pub kv_heads: usize,
    /// Numbers in a head.
    pub head_dim: usize,
    /// Width of the feed-forward network.
    pub ffn: usize,
    /// Rows of the embedding, padding included.
    pub embeddings: usize,
    /// Positions that the model was made for.
    pub context: usize,
    /// Added to the mean square in every norm.
    pub epsilon: f32,
    /// Whether the embedding is the output layer, too.
    pub tied: bool,
    /// Whether query, key and value have biases.
    pub qkv_bias: bool,
    /// Whether the attention's output has a bias.
    pub output_bias: bool,
    /// Whether the feed-forward network has biases.
    pub mlp_bias: bool,
    /// Whether each query and key head is normed.
    pub head_norm: bool,
    /// The rotary embedding.
    pub rope: Rope,
    /// Attention looks back no further than this many positions.
    pub window: Option<usize>,
    /// Tokens that end a text, ascending.
    pub end_tokens: Vec<Token>,
}

/// The most that any size of a model may be; far more than any model has, and no product of two overflows.
const MOST: usize = 1 << 28;
/// The most numbers in a head.
const LARGEST_HEAD: usize = 1 << 12;

impl Config {
    /// Numbers in all query heads of a position.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Numbers in all key heads of a position, and in all value heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Checks the sizes against each other.
    ///
    /// # Errors
    /// [`LoadError::Field`] that names the first field that does not fit.
    pub fn checked(self, path: &Path) -> Result<Self> {
        let sizes = [
            ("hidden_size", self.hidden),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("intermediate_size", self.ffn),
            ("vocab_size", self.embeddings),
            ("max_position_embeddings", self.context),
        ];
        for (field, size) in sizes {
            if !(1..=MOST).contains(&size) {
                let reason = format!("expected a size from 1 to {MOST}, found {size}");
                return Err(LoadError::field(path, field, reason));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let reason = format!(
                "expected a divisor of the {} query heads, found {}",
                self.heads, self.kv_heads
            );
            return Err(LoadError::field(path, "num_key_value_heads", reason));
        }
        if !self.head_dim.is_multiple_of(2) || self.head_dim > LARGEST_HEAD {
            let reason = format!(
                "expected an even number up to {LARGEST_HEAD}, found {}",
                self.head_dim
            );
            return Err(LoadError::field(path, "head_dim", reason));
        }
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            let reason = format!("expected a small positive number, found {}", self.epsilon);
            return Err(LoadError::field(path, "rms_norm_eps", reason));
        }
        if !(self.rope.theta.is_finite() && self.rope.theta > 1.0) {
            let reason = format!("expected a number over 1, found {}", self.rope.theta);
            return Err(LoadError::field(path, "rope_theta", reason));
        }
        if self
            .rope
            .frequencies(self.head_dim)
            .iter()
            .any(|f| !f.is_finite())
        {
            let reason = "the frequencies that follow from it are not finite";
            return Err(LoadError::field(path, "rope_scaling", reason));
        }
        Ok(self)
    }
}
