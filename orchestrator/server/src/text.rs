//! Between texts and token ids.
//!
//! A text is encoded with its special tokens recognised and nothing put before it; on the way back special tokens are
//! left out.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use csd_config::{Cascade, Source};
use csd_level::Token;
use tokenizers::Tokenizer;

use crate::decoder::Decoder;

/// Why there is no tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// No folder of the cascade has one.
    #[error(
        "no tokenizer.json in {}; name one with `tokenizer = \"…\"` in the cascade file",
        looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Missing {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The file cannot be used.
    #[error("cannot load the tokenizer {}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A tokenizer as this server uses it.
pub struct Text {
    tokenizer: Tokenizer,
    special: HashSet<Token>,
    vocabulary: usize,
}

impl Text {
    /// The folder whose `tokenizer.json` a cascade uses: the one its file names, else that of the first level which has
    /// one. For a GGUF file, the folder it lies in.
    ///
    /// # Errors
    /// [`TextError::Missing`], naming every place.
    pub fn folder(config: &Cascade) -> Result<PathBuf, TextError> {
        let models = config.levels.iter().map(|level| match &level.source {
            Source::Neural { model, .. } | Source::MaxGram { model, .. } => model,
        });
        let places: Vec<PathBuf> = match &config.tokenizer {
            Some(path) => vec![folder_of(path)],
            None => models.map(|model| folder_of(model)).collect(),
        };
        let found = places
            .iter()
            .find(|folder| folder.join("tokenizer.json").is_file());
        found.cloned().ok_or(TextError::Missing { looked: places })
    }

    /// Loads the `tokenizer.json` of a folder.
    ///
    /// # Errors
    /// [`TextError::Unusable`].
    pub fn load(folder: &Path) -> Result<Self, TextError> {
        let path = folder.join("tokenizer.json");
        let unusable = |error: tokenizers::Error| TextError::Unusable {
            path: path.clone(),
            reason: error.to_string(),
        };
        let mut tokenizer = Tokenizer::from_file(&path).map_err(unusable)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(unusable)?;
        let special = tokenizer
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special)
            .map(|(id, _)| id)
            .collect();
        // Some files fill the map up to the size of the output layer; levels do not count that either.
        let real = |(text, id): &(String, Token)| *text != format!("[PAD{id}]");
        let vocabulary = tokenizer.get_vocab(true).into_iter().filter(real);
        let largest = vocabulary.map(|(_, id)| id).max();
        Ok(Self {
            vocabulary: largest.map_or(0, |id| id as usize + 1),
            tokenizer,
            special,
        })
    }

    /// One more than the largest token id that it knows.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The token ids of a text.
    ///
    /// # Errors
    /// Says why the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<Token>, String> {
        let encoding = self.tokenizer.encode_fast(text, false);
        encoding
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| error.to_string())
    }

    /// The text of tokens, special ones left out.
    pub fn decode(&self, tokens: &[Token]) -> String {
        // Ids that the tokenizer does not know have no text; nothing else can fail.
        self.tokenizer.decode(tokens, true).unwrap_or_default()
    }

    /// A token spelled out, special ones too; a part of a character as the tokenizer's own list writes it.
    pub fn spelling(&self, token: Token) -> String {
        let text = self.alone(token);
        let listed = || self.tokenizer.id_to_token(token).unwrap_or_default();
        text.unwrap_or_else(listed)
    }

    /// Whether a token is a text of its own, and not a part of a character.
    pub fn is_whole(&self, token: Token) -> bool {
        self.alone(token).is_some()
    }

    /// The text of a token within others: some decoders drop the space that a first one begins with.
    fn alone(&self, token: Token) -> Option<String> {
        let decode = |tokens: &[Token]| self.tokenizer.decode(tokens, false).ok();
        let (once, twice) = (decode(&[token])?, decode(&[token, token])?);
        let text = twice.strip_prefix(&once)?;
        (!text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER)).then(|| text.to_owned())
    }

    /// Whether a token is left out of texts.
    pub fn is_special(&self, token: Token) -> bool {
        self.special.contains(&token)
    }

    /// Decodes token by token what is written after `prompt`.
    pub fn decoder(self: &Arc<Self>, prompt: &[Token]) -> Decoder {
        Decoder::new(self.clone(), prompt)
    }
}

fn folder_of(model: &Path) -> PathBuf {
    if model.is_dir() {
        return model.to_owned();
    }
    let parent = model.parent().unwrap_or(Path::new("."));
    parent.to_owned()
}
