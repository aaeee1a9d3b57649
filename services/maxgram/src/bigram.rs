//! The most likely successor of each token, learned from a corpus.

use serde::Deserialize;

use crate::Token;

/// A bigram table: for each token of a vocabulary the one that most often followed it, if any did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bigrams {
    successors: Vec<Option<(Token, f32)>>,
}

/// Why a bigram file is refused. Each names the field.
#[derive(Debug, thiserror::Error)]
pub enum BigramError {
    /// No JSON, or not of this shape.
    #[error("bigram table: field `{field}`: {source}")]
    Json {
        /// The path of the value at which reading stopped; `.` is the file as a whole.
        field: String,
        /// What the reader met.
        source: serde_json::Error,
    },
    /// A list without exactly one entry per token.
    #[error("bigram table: field `{field}` has {found} entries, but vocab_size is {expected}")]
    Length {
        /// The list.
        field: &'static str,
        /// Tokens of the vocabulary.
        expected: usize,
        /// Entries of the list.
        found: usize,
    },
    /// A successor that is no token.
    #[error(
        "bigram table: field `next[{index}]` is {token}, outside the vocabulary of {vocab_size}"
    )]
    Token {
        /// The token whose successor it is.
        index: usize,
        /// The successor.
        token: Token,
        /// Tokens of the vocabulary.
        vocab_size: usize,
    },
    /// A probability outside 0 to 1.
    #[error("bigram table: field `probability[{index}]` is {value}, not between 0 and 1")]
    Probability {
        /// The token whose successor's it is.
        index: usize,
        /// The value.
        value: f32,
    },
}

/// The file: three lists with one entry per token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    vocab_size: usize,
    /// The most frequent successor.
    next: Vec<Token>,
    /// Its share of all successors.
    probability: Vec<f32>,
    /// How many successors were counted; 0 means that the other two say nothing.
    count: Vec<u64>,
}

impl Bigrams {
    /// Reads a table from JSON: `{"vocab_size", "next": […], "probability": […], "count": […]}`.
    ///
    /// # Errors
    /// Every file that is not such a table; nothing is repaired.
    pub fn from_json(json: &[u8]) -> Result<Self, BigramError> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let table: Table =
            serde_path_to_error::deserialize(&mut reader).map_err(|error| BigramError::Json {
                field: error.path().to_string(),
                source: error.into_inner(),
            })?;
        reader.end().map_err(|source| BigramError::Json {
            field: ".".into(),
            source,
        })?;
        table.validate()?;
        let entries = table.next.iter().zip(&table.probability).zip(&table.count);
        let successors = entries.map(|((&next, &probability), &count)| {
            let seen = count as f32;
            (count > 0).then(|| (next, (probability * seen + 0.5) / (seen + 1.0)))
        });
        Ok(Self {
            successors: successors.collect(),
        })
    }

    /// Tokens of the vocabulary it was made for; 0 for the empty table.
    pub fn vocab_size(&self) -> usize {
        self.successors.len()
    }

    /// Checks that every successor is one of `vocabulary` tokens.
    pub(crate) fn fit(&self, vocab_size: usize) -> Result<(), BigramError> {
        let mut successors = self.successors.iter().enumerate();
        let outside = successors.find_map(|(index, next)| {
            next.filter(|(token, _)| *token as usize >= vocab_size)
                .map(|(token, _)| (index, token))
        });
        match outside {
            None => Ok(()),
            Some((index, token)) => Err(BigramError::Token {
                index,
                token,
                vocab_size,
            }),
        }
    }

    /// The likeliest successor of a token and how likely it is, strictly between 0 and 1; `None` for a token that was never
    /// followed or is outside the vocabulary.
    pub fn after(&self, token: Token) -> Option<(Token, f32)> {
        self.successors.get(token as usize).copied().flatten()
    }
}

impl Table {
    fn validate(&self) -> Result<(), BigramError> {
        let lists = [
            ("next", self.next.len()),
            ("probability", self.probability.len()),
            ("count", self.count.len()),
        ];
        for (field, found) in lists {
            if found != self.vocab_size {
                return Err(BigramError::Length {
                    field,
                    expected: self.vocab_size,
                    found,
                });
            }
        }
        for (index, &token) in self.next.iter().enumerate() {
            if token as usize >= self.vocab_size {
                return Err(BigramError::Token {
                    index,
                    token,
                    vocab_size: self.vocab_size,
                });
            }
        }
        for (index, &value) in self.probability.iter().enumerate() {
            if !(0.0..=1.0).contains(&value) {
                return Err(BigramError::Probability { index, value });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        Bigrams::from_json(json.as_bytes())
            .expect_err("a bad table")
            .to_string()
    }

    #[test]
    fn a_table_answers_for_counted_tokens_only() {
        let json = r#"{"vocab_size": 3, "next": [2, 0, 1], "probability": [1.0, 0.0, 0.25], "count": [9, 0, 4]}"#;
        let table = Bigrams::from_json(json.as_bytes()).expect("a table");
        assert_eq!(table.vocab_size(), 3);
        assert_eq!(table.after(0), Some((2, 0.95)));
        assert_eq!(table.after(1), None);
        assert_eq!(table.after(2), Some((1, 0.3)));
        assert_eq!(table.after(3), None);
    }

    #[test]
    fn a_list_of_the_wrong_length_is_named() {
        let next = r#"{"vocab_size": 2, "next": [1], "probability": [0, 0], "count": [0, 0]}"#;
        assert_eq!(
            error(next),
            "bigram table: field `next` has 1 entries, but vocab_size is 2"
        );
        let count =
            r#"{"vocab_size": 2, "next": [1, 0], "probability": [0, 0], "count": [0, 0, 0]}"#;
        assert_eq!(
            error(count),
            "bigram table: field `count` has 3 entries, but vocab_size is 2"
        );
    }

    #[test]
    fn a_token_outside_the_vocabulary_is_named() {
        let json = r#"{"vocab_size": 2, "next": [1, 2], "probability": [0, 0], "count": [0, 0]}"#;
        assert_eq!(
            error(json),
            "bigram table: field `next[1]` is 2, outside the vocabulary of 2"
        );
    }

    #[test]
    fn a_probability_above_one_is_named() {
        let json = r#"{"vocab_size": 1, "next": [0], "probability": [1.5], "count": [0]}"#;
        assert_eq!(
            error(json),
            "bigram table: field `probability[0]` is 1.5, not between 0 and 1"
        );
    }

    #[test]
    fn broken_json_is_named_by_the_field_it_breaks_in() {
        assert!(error(r#"{"vocab_size": 2, "next": [1, "#).contains("field `next"));
        assert!(
            error(r#"{"vocab_size": 2, "next": [1, 0], "probability": [0, "x"]"#)
                .contains("field `probability[1]`")
        );
        assert!(
            error(r#"{"vocab_size": 1, "next": [0], "probability": [0]}"#)
                .contains("missing field `count`")
        );
        assert!(
            error(
                r#"{"vocab_size": 1, "next": [0], "probability": [0], "count": [0], "extra": 1}"#
            )
            .contains("extra")
        );
        assert!(error("").contains("EOF"));
        assert!(
            error(r#"{"vocab_size": 0, "next": [], "probability": [], "count": []} x"#)
                .contains("trailing")
        );
    }
}
