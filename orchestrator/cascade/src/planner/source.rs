//! Who stands behind a drafted token, and how: what acceptance is learnt by.

use csd_level::DraftToken;

/// Who stands behind a token: the last level that reviewed it, else its author; and whether a larger level has written
/// before it. Where that one would not go on, the text is hard: what a smaller one writes there says little of how it
/// would fare elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) level: u8,
    stand: Stand,
    pub(super) later: bool,
}

/// How a level came to stand behind a token. Tokens that two levels agree on fare best, those that a level put in place of
/// another's fare worst: there the text is hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stand {
    Wrote,
    Approved,
    Corrected,
}

impl Source {
    /// What a level writes by itself.
    pub(super) fn wrote(level: usize) -> Self {
        Self::new(level as u8, Stand::Wrote)
    }

    /// What it lets pass.
    pub(super) fn approved(level: usize) -> Self {
        Self::new(level as u8, Stand::Approved)
    }

    /// What it adds to a draft that it has reviewed.
    pub(super) fn corrected(level: usize) -> Self {
        Self::new(level as u8, Stand::Corrected)
    }

    /// How a level stands behind what it writes by itself, or with reviews of its own Max-Gram.
    pub(super) fn by(level: usize, assisted: bool) -> Vec<Self> {
        match assisted {
            false => vec![Self::wrote(level)],
            true => vec![
                Self::wrote(level),
                Self::approved(level),
                Self::corrected(level),
            ],
        }
    }

    fn new(level: u8, stand: Stand) -> Self {
        Self {
            level,
            stand,
            later: false,
        }
    }

    /// The same where no larger level has written before it.
    pub(super) fn elsewhere(self) -> Self {
        Self {
            later: false,
            ..self
        }
    }

    /// The same behind a draft.
    pub(super) fn behind(self, draft: &[DraftToken]) -> Self {
        let larger = |token: &DraftToken| Self::of(token).level < self.level;
        Self {
            later: draft.iter().any(larger),
            ..self
        }
    }

    /// The tokens of a draft with their sources.
    pub(super) fn along(draft: &[DraftToken]) -> impl Iterator<Item = (&DraftToken, Self)> {
        let mut largest = u8::MAX;
        draft.iter().map(move |token| {
            let source = Self::of(token);
            let later = largest < source.level;
            largest = largest.min(source.level);
            (token, Self { later, ..source })
        })
    }

    pub(super) fn of(token: &DraftToken) -> Self {
        if token.reviewers == 0 {
            return Self::new(token.author, Stand::Wrote);
        }
        // The largest level is the last to have reviewed.
        match token.reviewers.trailing_zeros() as u8 {
            level if level == token.author => Self::new(level, Stand::Corrected),
            level => Self::new(level, Stand::Approved),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reviewed_last_stands_behind_a_token() {
        let mut token = DraftToken::bare(1, 3);
        assert_eq!(Source::of(&token), Source::wrote(3));
        token.reviewers = 0b110;
        assert_eq!(Source::of(&token), Source::approved(1));
        (token.author, token.reviewers) = (1, 0b10);
        assert_eq!(Source::of(&token), Source::corrected(1));
    }

    #[test]
    fn tokens_behind_a_larger_levels_are_told_apart() {
        let token = |level| DraftToken::bare(1, level);
        let draft = [token(2), token(1), token(2), token(1)];
        let later: Vec<_> = Source::along(&draft)
            .map(|(_, source)| source.later)
            .collect();
        assert_eq!(later, [false, false, true, false]);
        assert!(!Source::wrote(2).behind(&draft[..1]).later);
        assert!(Source::wrote(2).behind(&draft[..2]).later);
    }
}
