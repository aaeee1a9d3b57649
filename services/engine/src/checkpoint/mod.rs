//! Checkpoints: a Hugging Face folder or a GGUF file, read without ever holding it in memory.
//!
//! - [`config`], [`rope`]: the shape of a model
//! - `huggingface`, `safetensors`: `config.json` and the tensors of a folder
//! - `gguf`: a GGUF file's header, which has both
//! - `part`, `tensors`: what the tensors are called, and their rows read in place
//! - [`tokens`]: the token map and its fingerprint
//! - [`weights`]: tensors packed for the kernels, with fallbacks where a type does not fit

pub mod config;
mod gguf;
pub(crate) mod huggingface;
pub(crate) mod part;
pub mod rope;
mod safetensors;
mod tensors;
pub mod tokens;
pub mod weights;

use std::path::{Path, PathBuf};

use self::{
    config::{Architecture, Config},
    part::{Naming, Part, Piece},
    tensors::{Rows, Stored, Tensors},
    tokens::{Hash, TokenMap},
};
use crate::error::{LoadError, Result};

/// An opened checkpoint: everything but the weights has been read and checked.
#[derive(Debug)]
pub struct Checkpoint {
    /// The folder or file.
    pub path: PathBuf,
    /// The shape of the model.
    pub config: Config,
    /// Its token map.
    pub tokens: TokenMap,
    naming: Naming,
    tensors: Tensors,
}

impl Checkpoint {
    /// Opens a Hugging Face folder or a GGUF file.
    ///
    /// # Errors
    /// [`LoadError`] that names the file and what in it is missing, wrong or not served here.
    pub fn open(path: &Path) -> Result<Self> {
        let (naming, config, tokens, tensors) = if path.is_dir() {
            let config = huggingface::read(path)?;
            let tokens = TokenMap::of_folder(path)?;
            let tensors = safetensors::open(path)?;
            (Naming::HuggingFace, config, tokens, tensors)
        } else {
            let (config, tokens, tensors) = gguf::open(path)?;
            (Naming::Gguf, config, tokens, tensors)
        };
        if config.layers > tensors.len() {
            let reason = format!(
                "expected no more than there are tensors, {}, found {}",
                tensors.len(),
                config.layers
            );
            return Err(LoadError::field(path, "num_hidden_layers", reason));
        }
        if tokens.vocabulary > config.embeddings {
            let reason = format!(
                "expected rows for the tokenizer's {} tokens, found {}",
                tokens.vocabulary, config.embeddings
            );
            return Err(LoadError::field(path, "vocab_size", reason));
        }
        if let Some(token) = config
            .end_tokens
            .iter()
            .find(|&&token| token as usize >= tokens.vocabulary)
        {
            let reason = format!("{token} is outside the {} tokens", tokens.vocabulary);
            return Err(LoadError::field(path, "eos_token_id", reason));
        }
        Ok(Self {
            path: path.to_owned(),
            config,
            tokens,
            naming,
            tensors,
        })
    }

    /// A tensor of a given shape, ready to be read.
    pub(crate) fn tensor(
        &self,
        part: Part,
        layer: usize,
        piece: Piece,
        shape: &[usize],
    ) -> Result<Tensor<'_>> {
        let name = part.name(self.naming, layer, piece);
        let Some(stored) = self.tensors.get(&name) else {
            let path = self.path.clone();
            return Err(LoadError::MissingTensor { path, tensor: name });
        };
        let path = &self.tensors.sources[stored.source].path;
        if stored.shape != shape {
            let expected = format!("shape {shape:?}");
            let found = format!("{:?}", stored.shape);
            return Err(LoadError::tensor(path, &name, expected, found));
        }
        // GGUF files of Llama hold query and key rows in the order of an interleaved rotary embedding.
        let permuted = self.naming == Naming::Gguf
            && matches!(
                self.config.architecture,
                Architecture::Llama | Architecture::Mistral
            )
            && matches!(part, Part::Query | Part::Key);
        Ok(Tensor {
            stored,
            name,
            interleaved: permuted.then_some(self.config.head_dim),
        })
    }

    pub(crate) fn rows<'a>(&'a self, tensor: &'a Tensor<'_>) -> Rows<'a> {
        self.tensors.rows(&tensor.name, tensor.stored)
    }

    /// A fingerprint of the model: its shape, the names, types and shapes of its tensors, and the first bytes of each.
    ///
    /// # Errors
    /// [`LoadError::Read`].
    pub fn fingerprint(&self) -> Result<String> {
        let mut hash = Hash::default();
        hash.add(format!("{:?} {:?}", self.config, self.tokens).as_bytes());
        let mut buffer = [0; 4096];
        for (name, stored) in self.tensors.sorted() {
            hash.add(format!("{name} {:?} {:?}", stored.format, stored.shape).as_bytes());
            hash.add(self.tensors.first(stored, &mut buffer)?);
        }
        Ok(hash.hex())
    }
}

/// One tensor of a checkpoint, of the expected shape.
pub(crate) struct Tensor<'a> {
    stored: &'a Stored,
    name: String,
    /// Head size, when rows of a head stand interleaved: 0, half, 1, half + 1, …
    interleaved: Option<usize>,
}

impl Tensor<'_> {
    /// Where in the file the row of an output stands.
    fn place(&self, output: usize) -> usize {
        let Some(dim) = self.interleaved else {
            return output;
        };
        let (head, within) = (output / dim, output % dim);
        let (half, pair) = (within / (dim / 2), within % (dim / 2));
        head * dim + 2 * pair + half
    }
}
