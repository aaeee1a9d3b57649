//! A completion as the API streams it, put together again.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{client::Failure, report::Report};

/// One event of the stream.
#[derive(Debug, Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    cascade: Option<Value>,
    error: Option<Failure>,
}

/// What an event adds to the text.
#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    text: String,
    #[serde(default)]
    token_ids: Vec<u32>,
    #[serde(default)]
    token_texts: Vec<String>,
    #[serde(default)]
    token_authors: Vec<String>,
    finish_reason: Option<String>,
}

impl Choice {
    /// The text token by token, if the server says who wrote which.
    fn pieces(self) -> Vec<Piece> {
        if self.token_texts.is_empty() || self.token_texts.len() != self.token_authors.len() {
            let text = self.text;
            return vec![Piece { text, author: None }];
        }
        let tokens = self.token_texts.into_iter().zip(self.token_authors);
        let piece = |(text, author)| Piece {
            text,
            author: Some(author),
        };
        tokens.map(piece).collect()
    }
}

/// A part of the text, and the level that wrote it where the server says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The text.
    pub(crate) text: String,
    /// The level.
    pub(crate) author: Option<String>,
}

/// A text and what is known about it. Serialises to what `csd generate --json` prints.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Completion {
    /// The text, special tokens left out.
    pub(crate) text: String,
    /// Every generated token.
    pub(crate) token_ids: Vec<u32>,
    /// Why it ended; none while it is being written.
    pub(crate) finish_reason: Option<String>,
    /// Tokens by the time from the request to the last of them.
    pub(crate) tokens_per_second: f64,
    /// What the cascade did, in the API's own words.
    pub(crate) cascade: Option<Value>,
}

impl Completion {
    /// Takes the data of an event and answers the pieces of text that it adds.
    ///
    /// # Errors
    /// The event is an error, or no part of a completion.
    pub(crate) fn push(&mut self, data: &str) -> Result<Vec<Piece>> {
        let chunk: Chunk = serde_json::from_str(data)
            .with_context(|| format!("the server sent what is no completion: {data}"))?;
        if let Some(error) = chunk.error {
            return Err(error.into());
        }
        self.cascade = chunk.cascade.or(self.cascade.take());
        let mut pieces = Vec::new();
        for choice in chunk.choices {
            self.token_ids.extend(&choice.token_ids);
            if choice.finish_reason.is_some() {
                self.finish_reason.clone_from(&choice.finish_reason);
            }
            self.text.push_str(&choice.text);
            pieces.extend(choice.pieces());
        }
        Ok(pieces)
    }

    /// The tokens are complete, `duration` after they were asked for.
    pub(crate) fn complete(&mut self, duration: Duration) {
        self.tokens_per_second = self.token_ids.len() as f64 / duration.as_secs_f64().max(1e-9);
    }

    /// What the cascade did.
    ///
    /// # Errors
    /// The server says it in a way that this program does not know.
    pub(crate) fn report(&self) -> Result<Option<Report>> {
        let report = self.cascade.as_ref().map(Report::deserialize);
        report
            .transpose()
            .context("the server reports the cascade in an unknown form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_join_to_the_whole() {
        let mut completion = Completion::default();
        let chunks = [
            r#"{"id":"x","choices":[{"index":0,"text":"fn","token_ids":[5,6],"token_texts":["f","n"],"token_authors":["draft","mini"],"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"text":" main","token_ids":[7],"finish_reason":"stop"}],"cascade":{"calls":{"target":2}}}"#,
            r#"{"choices":[],"usage":{"total_tokens":9}}"#,
        ];
        let pieces = chunks
            .map(|chunk| completion.push(chunk).expect("a chunk"))
            .concat();
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.text.as_str(), piece.author.as_deref()))
            .collect();
        assert_eq!(
            pieces,
            [("f", Some("draft")), ("n", Some("mini")), (" main", None)]
        );
        completion.complete(Duration::from_secs(2));
        assert_eq!(
            serde_json::to_string(&completion).expect("serialises"),
            r#"{"text":"fn main","token_ids":[5,6,7],"finish_reason":"stop","tokens_per_second":1.5,"cascade":{"calls":{"target":2}}}"#
        );
    }

    #[test]
    fn an_error_in_the_stream_is_one() {
        let data = r#"{"error":{"message":"the target is gone","type":"server_error","param":null,"code":null}}"#;
        let error = Completion::default().push(data).expect_err("an error");
        assert_eq!(error.to_string(), "the target is gone");
        assert!(Completion::default().push("<html>").is_err());
    }
}
