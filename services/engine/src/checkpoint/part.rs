//! The tensors of a decoder, and what the two file formats call them.

use std::fmt;

/// A tensor of a decoder. Those of a layer need its number for their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Embedding,
    FinalNorm,
    Head,
    AttentionNorm,
    Query,
    Key,
    Value,
    Output,
    QueryNorm,
    KeyNorm,
    MlpNorm,
    Gate,
    Up,
    Down,
}

/// Who named the tensors of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    HuggingFace,
    Gguf,
}

/// Weight or bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Weight,
    Bias,
}

impl Part {
    /// The tensor's name in a file.
    pub(crate) fn name(self, naming: Naming, layer: usize, piece: Piece) -> String {
        let (huggingface, gguf) = match self {
            Self::Embedding => ("model.embed_tokens", "token_embd"),
            Self::FinalNorm => ("model.norm", "output_norm"),
            Self::Head => ("lm_head", "output"),
            Self::AttentionNorm => ("input_layernorm", "attn_norm"),
            Self::Query => ("self_attn.q_proj", "attn_q"),
            Self::Key => ("self_attn.k_proj", "attn_k"),
            Self::Value => ("self_attn.v_proj", "attn_v"),
            Self::Output => ("self_attn.o_proj", "attn_output"),
            Self::QueryNorm => ("self_attn.q_norm", "attn_q_norm"),
            Self::KeyNorm => ("self_attn.k_norm", "attn_k_norm"),
            Self::MlpNorm => ("post_attention_layernorm", "ffn_norm"),
            Self::Gate => ("mlp.gate_proj", "ffn_gate"),
            Self::Up => ("mlp.up_proj", "ffn_up"),
            Self::Down => ("mlp.down_proj", "ffn_down"),
        };
        let of_layer = !matches!(self, Self::Embedding | Self::FinalNorm | Self::Head);
        match (naming, of_layer) {
            (Naming::HuggingFace, true) => format!("model.layers.{layer}.{huggingface}.{piece}"),
            (Naming::HuggingFace, false) => format!("{huggingface}.{piece}"),
            (Naming::Gguf, true) => format!("blk.{layer}.{gguf}.{piece}"),
            (Naming::Gguf, false) => format!("{gguf}.{piece}"),
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
        })
    }
}
