//! The fields `logprobs`: what is asked, and what the target thinks of each token, in the form of each route.

use csd_level::{Logprobs, Token, logprobs::MOST_ALTERNATIVES};
use serde_json::{Map, Value, json};

use super::{fields::Fields, job::Form};
use crate::{Failure, error::Result, text::Text};

const MOST: u64 = MOST_ALTERNATIVES as u64;

/// A token of an answer.
pub(super) struct Scored {
    pub(super) token: Token,
    /// Where its text begins in the answer, in characters.
    pub(super) offset: usize,
    /// Absent for the first token of a prompt, which nothing stands before.
    pub(super) logprobs: Option<Logprobs>,
}

/// Of `/v1/completions`: a number of alternatives.
pub(super) fn alternatives(fields: &mut Fields) -> Result<Option<usize>> {
    fields.count("logprobs", 0, MOST)
}

/// Of `/v1/chat/completions`: whether, and with how many alternatives.
pub(super) fn chat_alternatives(fields: &mut Fields) -> Result<Option<usize>> {
    let wanted = fields.boolean("logprobs")?.unwrap_or(false);
    let top = fields.count("top_logprobs", 0, MOST)?;
    if top.is_some() && !wanted {
        let reason = "only allowed together with \"logprobs\": true";
        return Err(Failure::invalid("top_logprobs", reason));
    }
    Ok(wanted.then_some(top.unwrap_or(0)))
}

/// As the route writes it.
pub(super) fn report(form: Form, text: &Text, scored: &[Scored]) -> Value {
    match form {
        Form::Completion => completion(text, scored),
        Form::Chat => chat(text, scored),
    }
}

/// Four lists of equal length. The alternatives of a token include itself.
fn completion(text: &Text, scored: &[Scored]) -> Value {
    let top = |scored: &Scored| {
        let logprobs = scored.logprobs.as_ref()?;
        let mut top = Map::new();
        let own = (scored.token, logprobs.token);
        for &(token, logprob) in logprobs.top.iter().chain([&own]) {
            let named = top.entry(text.spelling(token));
            named.or_insert_with(|| json!(logprob));
        }
        Some(top)
    };
    let own = |scored: &Scored| scored.logprobs.as_ref().map(|logprobs| logprobs.token);
    json!({
        "tokens": scored.iter().map(|scored| text.spelling(scored.token)).collect::<Vec<_>>(),
        "token_logprobs": scored.iter().map(own).collect::<Vec<_>>(),
        "top_logprobs": scored.iter().map(top).collect::<Vec<_>>(),
        "text_offset": scored.iter().map(|scored| scored.offset).collect::<Vec<_>>(),
    })
}

fn chat(text: &Text, scored: &[Scored]) -> Value {
    let entry = |token: Token, logprob: f32| {
        let spelling = text.spelling(token);
        let bytes = text.is_whole(token).then(|| spelling.as_bytes().to_vec());
        json!({"token": spelling, "logprob": logprob, "bytes": bytes})
    };
    let token = |scored: &Scored| {
        let logprobs = scored.logprobs.as_ref()?;
        let mut value = entry(scored.token, logprobs.token);
        let top = logprobs.top.iter();
        value["top_logprobs"] = top.map(|&(token, logprob)| entry(token, logprob)).collect();
        Some(value)
    };
    json!({
        "content": scored.iter().filter_map(token).collect::<Vec<_>>(),
        "refusal": null,
    })
}
