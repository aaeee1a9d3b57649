//! The map from token ids to texts: how large it is, and a fingerprint by which levels agree on it.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{gguf, huggingface::read_json};
use crate::error::{LoadError, Result};

/// What levels must agree on before they can share a cascade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenMap {
    /// One more than the largest real token id.
    pub vocabulary: usize,
    /// Equal for equal maps, padding left aside.
    pub fingerprint: String,
}

/// The largest `tokenizer.json` that is read.
const LARGEST: u64 = 256 << 20;

#[derive(Deserialize)]
struct RawTokenizer {
    model: RawModel,
    #[serde(default)]
    added_tokens: Vec<RawAdded>,
}

#[derive(Deserialize)]
struct RawModel {
    vocab: RawVocabulary,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawVocabulary {
    /// BPE and its like: text to id.
    Map(BTreeMap<String, u32>),
    /// Unigram: text and score in order of id.
    List(Vec<(String, f64)>),
}

#[derive(Deserialize)]
struct RawAdded {
    id: u32,
    content: String,
}

impl TokenMap {
    /// Reads the map of a model alone: `tokenizer.json` of a folder, or the tokens of a GGUF file. A folder needs no
    /// weights for that.
    ///
    /// # Errors
    /// [`LoadError`] that names the file and what in it is missing or wrong.
    pub fn load(path: &Path) -> Result<Self> {
        if path.is_dir() {
            Self::of_folder(path)
        } else {
            let (_, tokens, _) = gguf::open(path)?;
            Ok(tokens)
        }
    }

    /// Reads `tokenizer.json` of a folder.
    pub(super) fn of_folder(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let raw: RawTokenizer = read_json(&path, LARGEST)?;
        let mut texts = BTreeMap::new();
        match raw.model.vocab {
            RawVocabulary::Map(map) => texts.extend(map.into_iter().map(|(text, id)| (id, text))),
            RawVocabulary::List(list) => {
                texts.extend((0..).zip(list.into_iter().map(|(text, _)| text)));
            }
        }
        texts.extend(
            raw.added_tokens
                .into_iter()
                .map(|added| (added.id, added.content)),
        );
        Self::new(texts.iter().map(|(&id, text)| (id, text.as_str())))
            .ok_or_else(|| LoadError::field(&path, "model.vocab", "expected tokens, found none"))
    }

    /// Fingerprints pairs that come in ascending order of id. `None` when there are none.
    pub(super) fn new<'a>(pairs: impl IntoIterator<Item = (u32, &'a str)>) -> Option<Self> {
        let mut hash = Hash::default();
        let mut vocabulary = 0;
        for (id, text) in pairs {
            if text == format!("[PAD{id}]") {
                continue;
            }
            vocabulary = id as usize + 1;
            hash.add(&id.to_le_bytes());
            hash.add(&(text.len() as u64).to_le_bytes());
            hash.add(text.as_bytes());
        }
        (vocabulary > 0).then(|| Self {
            vocabulary,
            fingerprint: hash.hex(),
        })
    }
}

/// FNV-1a with 128 bits: not for secrets, for telling honest files apart.
pub(crate) struct Hash(u128);

impl Default for Hash {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Hash {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 ^= u128::from(byte);
            self.0 = self
                .0
                .wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }

    pub(crate) fn hex(&self) -> String {
        format!("{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_does_not_count_and_everything_else_does() {
        let map = |texts: &[&'static str]| TokenMap::new((0..).zip(texts.iter().copied())).unwrap();
        let plain = map(&["a", "b", "c"]);
        assert_eq!(plain.vocabulary, 3);
        assert_eq!(map(&["a", "b", "c", "[PAD3]", "[PAD4]"]), plain);
        assert_ne!(map(&["a", "b", "d"]), plain);
        assert_ne!(map(&["a", "bc"]).fingerprint, map(&["ab", "c"]).fingerprint);
        assert!(TokenMap::new([]).is_none());
    }
}
