//! What a draft in the making is worth, so that its author can tell by itself when to stop.

/// Upper ends of the bands of confidence, in [`crate::DraftToken::gap`]'s logits.
pub const GAPS: [f32; 9] = [0.25, 0.5, 1.0, 1.5, 2.25, 3.25, 4.5, 6.5, 9.0];
/// How many bands there are.
pub const BANDS: usize = GAPS.len() + 1;

/// The band that a gap falls into.
pub fn band(gap: f32) -> usize {
    GAPS.partition_point(|&end| end <= gap)
}

/// Tokens of a draft whose rows have a price each; those behind them cost what the last one does.
pub const PRICED: usize = 32;

/// What tokens are worth to whoever asked for a draft, and what they must be worth.
///
/// Longer drafts are reviewed in hope: a token counts only if everything before it passes. Whoever asks knows how often
/// tokens pass and what time is worth, the author sees how sure it is of each; together they stop a draft at the token
/// after which more would not pay (compare SpecDec++, arXiv 2405.19715), and leave a token out that turns out to be worth
/// less than its row.
///
/// Under rejection sampling a gap tells of the distribution that a token was drawn from, not of the draw: a token that is
/// left out for it leaves what the target draws in its place as likely as ever.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prospects {
    /// The chance that a token of the level passes, by the band of its gap. 0 to 1.
    pub own: [f32; BANDS],
    /// How many of the level's tokens fall into each band. 0 to 1, 1 together.
    pub shares: [f32; BANDS],
    /// The chance of a token that its Max-Gram proposes and nobody reviews, by band. 0 to 1.
    pub assistant: [f32; BANDS],
    /// Tokens of text that a forward must be expected to bring. At least 0.
    pub forward: f32,
    /// Tokens of text that each drafted token must be expected to bring, from the first on, for its row in the review. At
    /// least 0, never falling.
    pub rows: [f32; PRICED],
}

impl Prospects {
    /// The chance that the level's next token passes, whatever it will be.
    pub fn next(&self) -> f32 {
        let all = self.own.iter().zip(self.shares);
        all.map(|(passes, share)| passes * share).sum()
    }

    /// Tokens of text that the token behind so many others must be expected to bring.
    pub fn row(&self, behind: usize) -> f32 {
        self.rows[behind.min(PRICED - 1)]
    }

    /// Whether any token that its Max-Gram proposes may go unreviewed.
    pub fn trusts_assistant(&self) -> bool {
        self.assistant.iter().any(|&passes| passes > 0.0)
    }

    /// Whether another forward pays behind so many tokens, all of which pass with this chance: what the next token brings
    /// beyond its row, and nothing where it will be left out.
    pub fn pays(&self, behind: usize, survival: f32) -> bool {
        let row = self.row(behind);
        let all = self.own.iter().zip(self.shares);
        let brings = all.map(|(passes, share)| share * (survival * passes - row).max(0.0));
        let brings: f32 = brings.sum();
        brings > 0.0 && brings >= self.forward
    }

    /// Whether a token that Max-Gram proposes belongs into the draft as it stands: it must be at least as likely as what the
    /// level would write for a forward, and worth its row.
    pub fn keeps(&self, behind: usize, survival: f32, gap: f32) -> bool {
        let chance = self.assistant[band(gap)];
        chance >= self.next() && survival * chance >= self.row(behind)
    }
}
