//! How the next token is to be chosen.

use crate::{Error, Result, Token};

/// The rule by which a level reviews a drafted token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// Every level draws the token at position t as the argmax of its processed logits plus Gumbel noise that depends
    /// on the seed, t and the token id alone, and a draft is accepted while the draws agree. The text is then a function
    /// of the target, the context and the seed, whatever the drafters did (Daliri et al., arXiv 2408.07978).
    #[default]
    Coupled,
    /// Accept x with min(1, p(x)/q(x)), else draw from the normalised positive part of p - q (Leviathan et al., arXiv
    /// 2211.17192; Chen et al., arXiv 2302.01318). Lossless in distribution, not for a seed.
    Rejection,
}

/// How much looser than exact a review *between drafters* may be: x also passes when p(x) > q(x)/lenience.
///
/// The target has no such parameter anywhere in this workspace: its reviews are exact by type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lenience(f32);

impl Lenience {
    /// No looseness: the reviewing level's own choice or nothing.
    pub const NONE: Self = Self(1.0);

    /// Checks that the factor is finite and at least 1.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the field `lenience` otherwise.
    pub fn new(factor: f32) -> Result<Self> {
        if factor.is_finite() && factor >= 1.0 {
            Ok(Self(factor))
        } else {
            Err(Error::invalid(
                "lenience",
                format!("must be a finite number of at least 1, got {factor}"),
            ))
        }
    }

    /// The factor, at least 1.
    pub fn factor(self) -> f32 {
        self.0
    }

    /// Whether anything but the reviewer's own choice can pass.
    pub fn is_loose(self) -> bool {
        self.0 > 1.0
    }
}

/// The parameters of sampling, the same at every level for the whole of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Keep only this many of the most likely tokens.
    pub top_k: Option<u32>,
    /// Keep the smallest set of tokens whose probability reaches this; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this fraction as likely as the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens in prompt or text (Keskar et al., 2019); 1 is none.
    pub repetition_penalty: f32,
    /// Subtracted once from every token already generated.
    pub presence_penalty: f32,
    /// Subtracted from a token for every time it was generated.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens, ascending by id.
    pub logit_bias: Vec<(Token, f32)>,
    /// The seed of all randomness of the request.
    pub seed: u64,
    /// The review rule.
    pub rule: Rule,
    /// Tokens that end a text, ascending. Empty when the caller ignores them.
    pub end_tokens: Vec<Token>,
    /// Tokens to generate before any of `end_tokens` may be chosen.
    pub min_tokens: u32,
}

impl Default for Sampling {
    /// Greedy, nothing processed, nothing ends the text.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
            rule: Rule::Coupled,
            end_tokens: Vec::new(),
            min_tokens: 0,
        }
    }
}

impl Sampling {
    /// Checks every field against its range and, where they are token ids, against the vocabulary.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first field out of range.
    pub fn validated(mut self, vocabulary: usize) -> Result<Self> {
        let ranges = [
            ("temperature", self.temperature, 0.0, 100.0),
            ("min_p", self.min_p, 0.0, 1.0),
            ("presence_penalty", self.presence_penalty, -2.0, 2.0),
            ("frequency_penalty", self.frequency_penalty, -2.0, 2.0),
        ];
        for (field, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return Err(Error::invalid(
                    field,
                    format!("must be between {low} and {high}, got {value}"),
                ));
            }
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::invalid(
                "top_p",
                format!("must be above 0 and at most 1, got {}", self.top_p),
            ));
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty <= 100.0) {
            let reason = format!(
                "must be above 0 and at most 100, got {}",
                self.repetition_penalty
            );
            return Err(Error::invalid("repetition_penalty", reason));
        }
        if self.top_k == Some(0) {
            return Err(Error::invalid(
                "top_k",
                "must be at least 1; leave it out to keep every token",
            ));
        }
        let outside = |token: Token| token as usize >= vocabulary;
        for &(token, bias) in &self.logit_bias {
            if outside(token) || !(-100.0..=100.0).contains(&bias) {
                let reason = format!(
                    "{token}: {bias}: ids end at {}, values lie between -100 and 100",
                    vocabulary - 1
                );
                return Err(Error::invalid("logit_bias", reason));
            }
        }
        if let Some(token) = self.end_tokens.iter().find(|&&token| outside(token)) {
            return Err(Error::invalid(
                "end_tokens",
                format!("{token} is outside the vocabulary of {vocabulary}"),
            ));
        }
        self.logit_bias.sort_by_key(|&(token, _)| token);
        self.end_tokens.sort_unstable();
        Ok(self)
    }

    /// Whether this token ends a text.
    pub fn is_end(&self, token: Token) -> bool {
        self.end_tokens.binary_search(&token).is_ok()
    }

    /// Whether any penalty looks at the tokens before.
    pub fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.presence_penalty != 0.0
            || self.frequency_penalty != 0.0
    }
}
