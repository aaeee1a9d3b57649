//! A prompt given back before the text that follows it, and what the target thinks of its tokens.

use std::sync::Arc;

use csd_cascade::{Cascade, Request};
use csd_level::{Error, Logprobs, Statistics, Token};

use crate::text::Text;

/// Positions scored in one call: answers stay small, and a caller who leaves is not computed for much longer.
const PIECE: usize = 512;

/// A token of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The token.
    pub token: Token,
    /// The part of the prompt's text that is complete with it; special tokens are spelled out.
    pub text: String,
    /// What the target thinks of it, if the task asked; nothing stands before the first.
    pub logprobs: Option<Logprobs>,
}

/// The tokens of a prompt with their text, nothing thought of them yet.
pub(crate) fn given(text: &Arc<Text>, prompt: &[Token]) -> Vec<Given> {
    let mut decoder = text.decoder(&[]);
    let mut given: Vec<Given> = prompt
        .iter()
        .map(|&token| Given {
            token,
            text: match text.is_special(token) {
                true => decoder.finish() + &text.spelling(token),
                false => decoder.push(token),
            },
            logprobs: None,
        })
        .collect();
    if let Some(last) = given.last_mut() {
        last.text.push_str(&decoder.finish());
    }
    given
}

/// Asks the target about each token of the prompt but the first, piece by piece. Returns how many positions it knew already.
///
/// # Errors
/// The target's.
pub(crate) async fn score(
    cascade: &Cascade,
    request: &Request,
    given: &mut [Given],
    statistics: &mut Statistics,
) -> Result<usize, Error> {
    let mut known = None;
    let mut from = 1;
    while from < given.len() {
        let to = given.len().min(from + PIECE);
        let (logprobs, timings) = cascade.score(request, from..to).await?;
        statistics.record_calls(0, 1);
        known.get_or_insert(timings.cached);
        for (given, logprobs) in given[from..to].iter_mut().zip(logprobs) {
            given.logprobs = Some(logprobs);
        }
        from = to;
    }
    Ok(known.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_texts_of_a_prompts_tokens_are_the_prompt() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny/target");
        let text = Arc::new(Text::load(&folder).expect("the bundled tokenizer"));
        for prompt in ["fn main() {", "<|user|>\n🦀 naïve<|end|>漢", "🦀<|end|>"] {
            let tokens = text.encode(prompt).expect("encodes");
            let given = given(&text, &tokens);
            assert!(given.iter().map(|given| given.token).eq(tokens));
            let whole: String = given.iter().map(|given| given.text.as_str()).collect();
            assert_eq!(whole, prompt);
        }
    }
}
