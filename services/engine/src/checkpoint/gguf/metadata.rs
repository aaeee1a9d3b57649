//! The metadata of a GGUF file: typed values by key.

use std::{collections::HashMap, path::PathBuf};

use csd_level::Token;

use super::reader::Reader;
use crate::{
    checkpoint::tokens::TokenMap,
    error::{LoadError, Result},
};

/// The one list that is kept.
const TOKENS: &str = "tokenizer.ggml.tokens";
/// Further end tokens, where a file lists them.
const END_TOKENS: &str = "tokenizer.ggml.eos_token_ids";

/// The longest text that is kept: chat templates have some ten thousand bytes.
const LONGEST_TEXT: u64 = 64 << 20;
/// Lists in lists, and so on.
const DEEPEST: usize = 4;

#[derive(Debug)]
enum Value {
    Whole(i128),
    Real(f64),
    Text(String),
    Other,
}

/// The metadata of a file. Keys that appear twice have their last value.
pub(super) struct Metadata {
    path: PathBuf,
    values: HashMap<String, Value>,
    tokens: Vec<String>,
    end_tokens: Vec<Token>,
}

impl Metadata {
    pub(super) fn read(reader: &mut Reader<'_>, count: u64) -> Result<Self> {
        let mut metadata = Self {
            path: reader.path.to_owned(),
            values: HashMap::new(),
            tokens: Vec::new(),
            end_tokens: Vec::new(),
        };
        for _ in 0..count {
            let key = reader.key()?;
            let value = metadata.read_value(reader, &key);
            let value = value.map_err(|error| match error {
                LoadError::Malformed { path, reason } => LoadError::field(&path, &key, reason),
                other => other,
            })?;
            metadata.values.insert(key, value);
        }
        Ok(metadata)
    }

    fn read_value(&mut self, reader: &mut Reader<'_>, key: &str) -> Result<Value> {
        match (reader.u32()?, key) {
            (9, TOKENS) => self.read_tokens(reader),
            (9, END_TOKENS) => self.read_end_tokens(reader),
            (kind, _) => value(reader, kind, 0),
        }
    }

    fn read_tokens(&mut self, reader: &mut Reader<'_>) -> Result<Value> {
        let kind = reader.u32()?;
        if kind != 8 {
            let reason = format!("expected texts, found type {kind}");
            return Err(LoadError::field(&self.path, TOKENS, reason));
        }
        let count = reader.count(8, "tokens")?;
        self.tokens.clear();
        for _ in 0..count {
            self.tokens.push(reader.text(1 << 16)?);
        }
        Ok(Value::Other)
    }

    fn read_end_tokens(&mut self, reader: &mut Reader<'_>) -> Result<Value> {
        let kind = reader.u32()?;
        let count = reader.count(1, "end tokens")?;
        self.end_tokens.clear();
        for _ in 0..count {
            match value(reader, kind, 1)? {
                Value::Whole(token) => self
                    .end_tokens
                    .push(Token::try_from(token).unwrap_or(Token::MAX)),
                found => {
                    let reason = format!("expected token ids, found {found:?}");
                    return Err(LoadError::field(&self.path, END_TOKENS, reason));
                }
            }
        }
        Ok(Value::Other)
    }

    /// A size or id.
    pub(super) fn number(&self, key: &str) -> Result<Option<usize>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(&Value::Whole(value)) if usize::try_from(value).is_ok() => {
                Ok(Some(value as usize))
            }
            Some(found) => Err(self.wrong(key, "a size", found)),
        }
    }

    pub(super) fn real(&self, key: &str) -> Result<Option<f64>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(&Value::Real(value)) => Ok(Some(value)),
            Some(&Value::Whole(value)) => Ok(Some(value as f64)),
            Some(found) => Err(self.wrong(key, "a number", found)),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(found) => Err(self.wrong(key, "a text", found)),
        }
    }

    /// The token map; `None` when the file has no tokens.
    pub(super) fn tokens(&self) -> Option<TokenMap> {
        TokenMap::new((0..).zip(self.tokens.iter().map(String::as_str)))
    }

    pub(super) fn end_token_list(&self) -> &[Token] {
        &self.end_tokens
    }

    fn wrong(&self, key: &str, expected: &str, found: &Value) -> LoadError {
        LoadError::field(
            &self.path,
            key,
            format!("expected {expected}, found {found:?}"),
        )
    }
}

fn value(reader: &mut Reader<'_>, kind: u32, depth: usize) -> Result<Value> {
    Ok(match kind {
        0 => Value::Whole(u8::from_le_bytes(reader.array()?).into()),
        1 => Value::Whole(i8::from_le_bytes(reader.array()?).into()),
        2 => Value::Whole(u16::from_le_bytes(reader.array()?).into()),
        3 => Value::Whole(i16::from_le_bytes(reader.array()?).into()),
        4 => Value::Whole(reader.u32()?.into()),
        5 => Value::Whole(i32::from_le_bytes(reader.array()?).into()),
        6 => Value::Real(f32::from_le_bytes(reader.array()?).into()),
        7 => Value::Whole((reader.array::<1>()?[0] != 0).into()),
        8 => Value::Text(reader.text(LONGEST_TEXT)?),
        9 if depth < DEEPEST => {
            pass_list(reader, depth)?;
            Value::Other
        }
        10 => Value::Whole(reader.u64()?.into()),
        11 => Value::Whole(i64::from_le_bytes(reader.array()?).into()),
        12 => Value::Real(f64::from_le_bytes(reader.array()?)),
        _ => return Err(reader.malformed(format!("a value of type {kind}, {depth} lists deep"))),
    })
}

/// Reads a list and forgets it.
fn pass_list(reader: &mut Reader<'_>, depth: usize) -> Result<()> {
    let kind = reader.u32()?;
    let size = match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    };
    if let Some(size) = size {
        let count = reader.count(size, "numbers")?;
        return reader.skip(count * size);
    }
    let count = reader.count(8, "values")?;
    for _ in 0..count {
        match kind {
            8 => {
                let len = reader.count(1, "bytes of text")?;
                reader.skip(len)?;
            }
            _ => {
                value(reader, kind, depth + 1)?;
            }
        }
    }
    Ok(())
}
