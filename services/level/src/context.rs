//! The tokens a decision is made on.

/// A token id of the map that all levels of a cascade share.
pub type Token = u32;

/// The tokens so far: the prompt, then what has been generated (or drafted) after it.
///
/// Where the prompt ends matters: presence and frequency penalties count generated tokens only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    tokens: Vec<Token>,
    prompt: usize,
}

impl Context {
    /// A context that holds a prompt and nothing generated yet.
    pub fn new(prompt: Vec<Token>) -> Self {
        Self {
            prompt: prompt.len(),
            tokens: prompt,
        }
    }

    /// A context whose first `prompt` tokens are the prompt; `None` when it is shorter than that.
    pub fn from_parts(tokens: Vec<Token>, prompt: usize) -> Option<Self> {
        (prompt <= tokens.len()).then_some(Self { tokens, prompt })
    }

    /// All tokens, prompt first.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The tokens after the prompt.
    pub fn generated(&self) -> &[Token] {
        &self.tokens[self.prompt..]
    }

    /// How many tokens the prompt has.
    pub fn prompt_len(&self) -> usize {
        self.prompt
    }

    /// How many tokens there are; also the absolute position of the next one.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Appends generated tokens.
    pub fn extend(&mut self, tokens: impl IntoIterator<Item = Token>) {
        self.tokens.extend(tokens);
    }

    /// Drops the last tokens until `len` are left; never cuts into the prompt.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len.max(self.prompt));
    }
}
