//! What a draft in the making is worth, so that its author can tell by itself when to stop.

/// Upper ends of the bands of confidence, in [`crate::DraftToken::gap`]'s logits.
pub const GAPS: [f32; 9] = [0.25, 0.5, 1.0, 1.5, 2.25, 3.25, 4.5, 6.5, 9.0];
/// How many bands there are.
pub const BANDS: usize = GAPS.len() + 1;

/// The band that a gap falls into.
pub fn band(gap: f32) -> usize {
    GAPS.partition_point(|&end| end <= gap)
}

/// What tokens are worth to whoever asked for a draft, and what they must be worth.
///
/// Longer drafts are reviewed in hope: a token counts only if everything before it passes. Whoever asks knows how often
/// tokens pass and what time is worth, the author sees how sure it is of each; together they stop a draft at the token
/// after which more would not pay (compare SpecDec++, arXiv 2405.19715).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prospects {
    /// The chance that a token of the level passes, by the band of its gap. 0 to 1.
    pub own: [f32; BANDS],
    /// The same of a token that its Max-Gram proposes and nobody reviews.
    pub assistant: [f32; BANDS],
    /// The chance that the level's next token passes, whatever it will be. 0 to 1.
    pub next: f32,
    /// Tokens of text that a forward must be expected to bring. At least 0.
    pub forward: f32,
    /// Tokens of text that a drafted token must be expected to bring, for its row in the review. At least 0.
    pub row: f32,
}

impl Prospects {
    /// Whether any token that its Max-Gram proposes may go unreviewed.
    pub fn trusts_assistant(&self) -> bool {
        self.assistant.iter().any(|&passes| passes > 0.0)
    }

    /// Whether another forward pays once everything so far passes with this chance.
    pub fn pays(&self, survival: f32) -> bool {
        survival * self.next >= self.forward
    }

    /// Whether a token that Max-Gram proposes belongs into the draft as it stands: it must be worth its row, and at least
    /// as likely as what the level would write for a forward.
    pub fn keeps(&self, survival: f32, gap: f32) -> bool {
        let chance = self.assistant[band(gap)];
        chance >= self.next && survival * chance >= self.row
    }
}
