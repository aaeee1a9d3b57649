//! How often drafted tokens pass: by reviewer, by who stands behind them, by confidence and by position.

use std::collections::BTreeMap;

use csd_level::DraftToken;

use super::mean::Mean;

/// Upper ends of the bands of confidence, in [`DraftToken::gap`]'s logits.
const BANDS: [f32; 9] = [0.25, 0.5, 1.0, 1.5, 2.25, 3.25, 4.5, 6.5, 9.0];
/// First positions of the classes: the first token of a draft, the next few, the tail.
const CLASSES: [usize; 3] = [0, 1, 4];
/// What is expected of a level that nobody has met, and for how many observations that counts.
const STRANGER: (f64, f64) = (0.7, 4.0);

/// Who stands behind a token: the last level that reviewed it, else its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    level: u8,
    stand: Stand,
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

    fn new(level: u8, stand: Stand) -> Self {
        Self { level, stand }
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

/// What is known of one source before one reviewer.
#[derive(Clone, Debug, Default)]
struct Record {
    by_band: [Mean<100>; BANDS.len() + 1],
    by_class: [Mean<200>; CLASSES.len()],
    all: Mean<200>,
}

/// Acceptance by (reviewer, source).
#[derive(Clone, Debug, Default)]
pub(super) struct Acceptance {
    records: BTreeMap<(u8, Source), Record>,
}

/// The same for one text, which may be easier or harder than most.
#[derive(Clone, Debug, Default)]
pub(super) struct TextAcceptance {
    records: BTreeMap<(u8, Source), Mean<32>>,
}

fn band(gap: f32) -> usize {
    BANDS.partition_point(|&end| end <= gap)
}

fn class(position: usize) -> usize {
    CLASSES.partition_point(|&first| first <= position) - 1
}

fn odds(p: f64) -> f64 {
    let p = p.clamp(0.002, 0.998);
    p / (1.0 - p)
}

impl Acceptance {
    /// A review has let `accepted` tokens of a draft pass. Those behind the first refusal were never judged.
    pub(super) fn observe(
        &mut self,
        text: &mut TextAcceptance,
        reviewer: usize,
        draft: &[DraftToken],
        accepted: usize,
    ) {
        for (position, token) in draft.iter().enumerate().take(accepted + 1) {
            let passed = f64::from(u8::from(position < accepted));
            let key = (reviewer as u8, Source::of(token));
            let record = self.records.entry(key).or_default();
            record.by_band[band(token.gap)].observe(passed);
            record.by_class[class(position)].observe(passed);
            record.all.observe(passed);
            text.records.entry(key).or_default().observe(passed);
        }
    }

    fn all(&self, key: (u8, Source)) -> f64 {
        let (_, weight) = STRANGER;
        let guess = self.guess(key);
        let record = self.records.get(&key);
        record.map_or(guess, |record| record.all.with_prior(guess, weight))
    }

    /// What is expected of tokens that nobody has seen: what a level reviews fares as what it writes, and before another
    /// reviewer a source fares as before the target.
    fn guess(&self, (reviewer, source): (u8, Source)) -> f64 {
        let wrote = Source::new(source.level, Stand::Wrote);
        if source != wrote {
            self.all((reviewer, wrote))
        } else if reviewer > 0 {
            self.all((0, wrote))
        } else {
            STRANGER.0
        }
    }

    /// How much likelier than elsewhere tokens of this source pass in this text, as a factor of the odds.
    fn ease(&self, text: &TextAcceptance, key: (u8, Source)) -> f64 {
        let all = self.all(key);
        let here = text.records.get(&key);
        let here = here.map_or(all, |here| here.with_prior(all, 3.0));
        odds(here) / odds(all)
    }

    /// The chance that a token passes, once everything before it has.
    pub(super) fn of_token(
        &self,
        text: &TextAcceptance,
        reviewer: usize,
        token: &DraftToken,
    ) -> f64 {
        let key = (reviewer as u8, Source::of(token));
        let all = self.all(key);
        let band = self
            .records
            .get(&key)
            .map(|record| record.by_band[band(token.gap)]);
        let known = band.map_or(all, |band| band.with_prior(all, 3.0));
        let odds = odds(known) * self.ease(text, key);
        odds / (1.0 + odds)
    }

    /// The chance that a token passes which is not yet written.
    pub(super) fn of_next(
        &self,
        text: &TextAcceptance,
        reviewer: usize,
        source: Source,
        position: usize,
    ) -> f64 {
        let key = (reviewer as u8, source);
        let all = self.all(key);
        let class = self
            .records
            .get(&key)
            .map(|record| record.by_class[class(position)]);
        let known = class.map_or(all, |class| class.with_prior(all, 8.0));
        let odds = odds(known) * self.ease(text, key);
        odds / (1.0 + odds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(gaps: &[f32]) -> Vec<DraftToken> {
        let token = |&gap: &f32| DraftToken {
            gap,
            ..DraftToken::bare(1, 1)
        };
        gaps.iter().map(token).collect()
    }

    #[test]
    fn confidence_and_position_are_told_apart() {
        let (mut acceptance, mut text) = (Acceptance::default(), TextAcceptance::default());
        for _ in 0..50 {
            acceptance.observe(&mut text, 0, &draft(&[8.0, 0.1]), 1);
        }
        let text = TextAcceptance::default();
        let chance = |gap: f32| acceptance.of_token(&text, 0, &draft(&[gap])[0]);
        assert!(chance(8.0) > 0.95 && chance(0.1) < 0.05);
        let next = |position| acceptance.of_next(&text, 0, Source::wrote(1), position);
        assert!(next(0) > 0.85 && next(1) < 0.2, "{} {}", next(0), next(1));
        assert_eq!(acceptance.of_next(&text, 0, Source::wrote(2), 0), 0.7);
    }

    #[test]
    fn tokens_behind_a_refusal_are_not_judged() {
        let (mut acceptance, mut text) = (Acceptance::default(), TextAcceptance::default());
        acceptance.observe(&mut text, 0, &draft(&[1.0; 9]), 0);
        let record = &acceptance.records[&(0, Source::wrote(1))];
        assert_eq!(record.all.weight(), 1.0);
    }

    #[test]
    fn a_text_may_be_easier_than_most() {
        let (mut acceptance, mut text) = (Acceptance::default(), TextAcceptance::default());
        let mut other = TextAcceptance::default();
        for _ in 0..40 {
            acceptance.observe(&mut other, 0, &draft(&[1.0]), 0);
            acceptance.observe(&mut text, 0, &draft(&[1.0]), 1);
        }
        let chance = |text: &TextAcceptance| acceptance.of_token(text, 0, &draft(&[1.0])[0]);
        assert!(chance(&text) > 0.7 && chance(&other) < 0.3);
    }

    #[test]
    fn who_reviewed_last_stands_behind_a_token() {
        let mut token = DraftToken::bare(1, 3);
        assert_eq!(Source::of(&token), Source::wrote(3));
        token.reviewers = 0b110;
        assert_eq!(Source::of(&token), Source::approved(1));
        (token.author, token.reviewers) = (1, 0b10);
        assert_eq!(Source::of(&token), Source::corrected(1));
    }
}
