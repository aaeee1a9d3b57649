//! How often drafted tokens pass: by reviewer, by who stands behind them, by confidence and by position.

use std::collections::BTreeMap;

use csd_level::{
    DraftToken,
    prospects::{BANDS, GAPS, band},
};

use super::{mean::Mean, source::Source};

/// First positions of the classes: the first token of a draft, the next few, the tail.
const CLASSES: [usize; 3] = [0, 1, 4];
/// What is expected of a level that nobody has met, and for how many observations that counts.
const STRANGER: (f64, f64) = (0.7, 4.0);

/// Tokens of a text for which all others count in what is expected of it: reviews of a draft stand and fall together, so that
/// a few of them say little.
const OTHERS: f64 = 25.0;

/// What a count of tokens by band keeps of itself from one to the next.
const FADING: f64 = 1.0 - 1.0 / 400.0;

/// What a level's next tokens are like, one by one: how sure it will be of them, and what comes of them then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlook {
    /// The chance that a token falls into each band, …
    pub(super) bands: [f64; BANDS],
    /// … and that one of the band passes, once everything before it has.
    pub(super) passes: [f64; BANDS],
    /// The factor of its odds by where in a draft it stands: what has got far stands in an easy text.
    pub(super) places: [f64; CLASSES.len()],
}

impl Outlook {
    /// The outlook for a token that stands so far behind a draft's first.
    pub(super) fn at(&self, position: usize) -> Self {
        let factor = self.places[class(position)];
        let passes = self.passes.map(|passes| {
            let odds = odds(passes) * factor;
            odds / (1.0 + odds)
        });
        Self { passes, ..*self }
    }

    /// Whether a token so far behind a draft's first has another outlook than the one before it.
    pub(super) fn changes_at(position: usize) -> bool {
        CLASSES.contains(&position)
    }

    /// The chance that the next token passes, whatever it will be.
    pub(super) fn next(&self) -> f64 {
        let bands = self.bands.iter().zip(&self.passes);
        bands.map(|(share, passes)| share * passes).sum()
    }
}

/// What is known of one source before one reviewer.
#[derive(Clone, Debug, Default)]
struct Record {
    by_band: [Mean<100>; BANDS],
    /// How many of the tokens have fallen into each band.
    counts: [f64; BANDS],
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
    records: BTreeMap<(u8, Source), Mean<100>>,
}

fn class(position: usize) -> usize {
    CLASSES.partition_point(|&first| first <= position) - 1
}

/// The least chance that tokens of a band have by their own account, if their gaps are log-odds.
fn stated_by(band: usize) -> f64 {
    let gap = band.checked_sub(1).map_or(0.0, |below| GAPS[below]);
    1.0 / (1.0 + f64::from(-gap).exp())
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
        for (position, (token, source)) in Source::along(draft).enumerate().take(accepted + 1) {
            let passed = f64::from(u8::from(position < accepted));
            let key = (reviewer as u8, source);
            let record = self.records.entry(key).or_default();
            record.by_band[band(token.gap)].observe(passed);
            record.counts = record.counts.map(|count| count * FADING);
            record.counts[band(token.gap)] += 1.0;
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

    /// What is expected of tokens that nobody has seen: behind a larger level's as elsewhere, what a level reviews fares as
    /// what it writes, and before another reviewer a source fares as before the target.
    fn guess(&self, (reviewer, source): (u8, Source)) -> f64 {
        let wrote = Source::wrote(source.level.into());
        if source.later {
            self.all((reviewer, source.elsewhere()))
        } else if source != wrote {
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
        let here = here.map_or(all, |here| here.with_prior(all, OTHERS));
        odds(here) / odds(all)
    }

    /// The chance that a token passes, once everything before it has.
    pub(super) fn of_token(
        &self,
        text: &TextAcceptance,
        reviewer: usize,
        (token, source): (&DraftToken, Source),
    ) -> f64 {
        let key = (reviewer as u8, source);
        let all = self.all(key);
        let band = self
            .records
            .get(&key)
            .map(|record| record.by_band[band(token.gap)]);
        let known = band.map_or(all, |band| band.with_prior(all, 3.0));
        let odds = odds(known) * self.ease(text, key);
        odds / (1.0 + odds)
    }

    /// The outlook for tokens of some sources, each of which may stand behind the next. `stated`: their gaps are the
    /// log-odds of a confidence.
    pub(super) fn outlook(
        &self,
        text: &TextAcceptance,
        reviewer: usize,
        sources: &[Source],
        stated: bool,
    ) -> Outlook {
        let (mut bands, mut passes) = ([0.0; BANDS], [0.0; BANDS]);
        let mut places = [0.0; CLASSES.len()];
        let stranger = Record::default();
        for &source in sources {
            let key = (reviewer as u8, source);
            let (all, ease) = (self.all(key), self.ease(text, key));
            let record = self.records.get(&key).unwrap_or(&stranger);
            // Of a stranger, every band is as likely, and as good, as any other, unless gaps are said to be log-odds.
            for (band, mean) in record.by_band.iter().enumerate() {
                let guess = if stated { stated_by(band) } else { all };
                let odds = odds(mean.with_prior(guess, 3.0)) * ease;
                let count = record.counts[band] + 0.1;
                bands[band] += count;
                passes[band] += count * odds / (1.0 + odds);
            }
            let count: f64 = record.counts.iter().map(|count| count + 0.1).sum();
            for (place, mean) in places.iter_mut().zip(&record.by_class) {
                *place += count * (odds(mean.with_prior(all, 8.0)) / odds(all)).ln();
            }
        }
        let total: f64 = bands.iter().sum();
        let places = places.map(|place| (place / total).exp());
        for (passes, band) in passes.iter_mut().zip(&mut bands) {
            *passes /= *band;
            *band /= total;
        }
        Outlook {
            bands,
            passes,
            places,
        }
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
        let chance = |gap: f32| {
            let token = &draft(&[gap])[0];
            acceptance.of_token(&text, 0, (token, Source::of(token)))
        };
        assert!(chance(8.0) > 0.95 && chance(0.1) < 0.05);
        let next = |position| acceptance.of_next(&text, 0, Source::wrote(1), position);
        assert!(next(0) > 0.85 && next(1) < 0.2, "{} {}", next(0), next(1));
        assert_eq!(acceptance.of_next(&text, 0, Source::wrote(2), 0), 0.7);
        let outlook = acceptance.outlook(&text, 0, &[Source::wrote(1)], false);
        assert!(outlook.at(0).next() > outlook.next() && outlook.next() > outlook.at(1).next());
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
        let chance = |text: &TextAcceptance| {
            let token = &draft(&[1.0])[0];
            acceptance.of_token(text, 0, (token, Source::of(token)))
        };
        assert!(chance(&text) > 0.7 && chance(&other) < 0.3);
    }
}
