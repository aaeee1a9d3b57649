//! Texts from tokens, one token at a time.
//!
//! A character may be spread over several tokens, and what a token's text is may depend on its neighbours (a leading
//! space that only the first one drops). So a short window of tokens is decoded again with each new one, and the text
//! that it adds is passed on once it ends in a whole character. What comes out depends on the tokens alone, not on how
//! many arrived at once.

use std::sync::Arc;

use csd_level::Token;

use crate::text::Text;

/// What decoders put where bytes are no character, or not yet.
const REPLACEMENT: char = '\u{FFFD}';

/// A character has at most four bytes and a token at least one: after that many tokens the bytes are simply wrong.
const HELD: usize = 4;

/// How many tokens of the prompt are the first window: enough for a character and its neighbour.
const PROMPT: usize = HELD + 2;

/// Decodes one text.
pub struct Decoder {
    text: Arc<Text>,
    window: Vec<Token>,
    /// How many tokens of the window have been passed on, and their text.
    done: usize,
    prefix: String,
}

impl Decoder {
    /// A decoder of what is written after `prompt`.
    pub(crate) fn new(text: Arc<Text>, prompt: &[Token]) -> Self {
        let visible = prompt.iter().copied().filter(|&id| !text.is_special(id));
        let visible: Vec<Token> = visible.collect();
        let window = visible[visible.len().saturating_sub(PROMPT)..].to_vec();
        let mut decoder = Self {
            done: window.len(),
            prefix: text.decode(&window),
            window,
            text,
        };
        if decoder.prefix.ends_with(REPLACEMENT) {
            // The prompt ends within a character: what follows it stands alone.
            decoder.window.clear();
            decoder.advance();
        }
        decoder
    }

    /// Takes a token and returns the text that is now certain, often its own, sometimes none.
    pub fn push(&mut self, token: Token) -> String {
        if self.text.is_special(token) {
            return String::new();
        }
        self.window.push(token);
        let whole = self.text.decode(&self.window);
        let held = self.window.len() - self.done;
        if whole.ends_with(REPLACEMENT) && held < HELD {
            return String::new();
        }
        self.pass_on(&whole)
    }

    /// The text that was held back, when no further token will come.
    pub fn finish(&mut self) -> String {
        let whole = self.text.decode(&self.window);
        self.pass_on(&whole)
    }

    fn pass_on(&mut self, whole: &str) -> String {
        let new = whole.get(self.prefix.len()..).unwrap_or("").to_owned();
        self.window.drain(..self.done);
        self.advance();
        new
    }

    /// The whole window counts as passed on.
    fn advance(&mut self) {
        self.done = self.window.len();
        self.prefix = self.text.decode(&self.window);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn text() -> Arc<Text> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny/target");
        Arc::new(Text::load(&folder).expect("the bundled tokenizer"))
    }

    fn joined(text: &Arc<Text>, prompt: &[Token], tokens: &[Token]) -> String {
        let mut decoder = text.decoder(prompt);
        let mut out: String = tokens.iter().map(|&token| decoder.push(token)).collect();
        out.push_str(&decoder.finish());
        out
    }

    #[test]
    fn characters_spread_over_tokens_come_out_whole() {
        let text = text();
        let written = "naïve “quotes” — 漢字 🦀🦀 e\u{301}\n\tx";
        let tokens = text.encode(written).expect("encodes");
        let mut decoder = text.decoder(&[]);
        let mut out = String::new();
        for &token in &tokens {
            let piece = decoder.push(token);
            assert!(!piece.contains(REPLACEMENT), "{piece:?}");
            out.push_str(&piece);
        }
        out.push_str(&decoder.finish());
        assert_eq!(out, written);
        assert!(tokens.len() > written.chars().count(), "nothing was spread");
    }

    #[test]
    fn every_cut_between_prompt_and_text_gives_the_same_whole() {
        let text = text();
        let written = "fn main() { println!(\"grüße 🦀\"); }";
        let tokens = text.encode(written).expect("encodes");
        for cut in 0..tokens.len() {
            let (prompt, rest) = tokens.split_at(cut);
            let before = text.decode(prompt);
            if !before.ends_with(REPLACEMENT) {
                assert_eq!(before + &joined(&text, prompt, rest), written, "{cut}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_character_are_not_held_for_ever() {
        let text = text();
        let crab = text.encode("🦀").expect("encodes");
        let broken: Vec<Token> = std::iter::repeat_n(crab[0], 50).collect();
        let mut decoder = text.decoder(&[]);
        let early: String = broken.iter().map(|&token| decoder.push(token)).collect();
        assert!(early.contains(REPLACEMENT));
        assert!(decoder.window.len() <= 2 * HELD);
        let plain = text.encode("ok").expect("encodes");
        let after: String = plain.iter().map(|&token| decoder.push(token)).collect();
        assert!(after.ends_with("ok"), "{after:?}");
    }

    #[test]
    fn special_tokens_have_no_text() {
        let text = text();
        let tokens = text.encode("<|user|>\nhi<|end|>").expect("encodes");
        assert_eq!(tokens[0], 1);
        assert_eq!(tokens.last(), Some(&4));
        assert_eq!(joined(&text, &[], &tokens), "\nhi");
    }
}
