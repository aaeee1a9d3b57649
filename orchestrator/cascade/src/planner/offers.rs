//! What could be drafted next: each turn of a neural level, what it would bring and how long it would take.

use std::sync::Arc;

use csd_level::{Description, Kind, Prospects, prospects::BANDS};

use super::{
    acceptance::Outlook,
    source::Source,
    value::{FAINT, Offer, View},
    writing::{self, Least},
};
use crate::strategy::{Manner, Situation, Turn, Worth, assisted};

/// Tokens that a level asks of its own Max-Gram before each of its forwards.
const ASSIST: usize = 4;

impl View<'_> {
    /// Every turn of a neural level that the situation allows.
    pub(super) fn offers(&self, situation: &Situation<'_>) -> Vec<Offer> {
        let mut offers = Vec::new();
        let review = self.rows(situation);
        let last = situation.levels.len() - 1;
        let assistant = self.outlook(situation, &[Source::wrote(last)], true);
        for level in situation.reviewer + 1..situation.levels.len() {
            let description = &situation.levels[level];
            let end = situation.context + situation.draft.len();
            let left = description.context.saturating_sub(end);
            if description.kind == Kind::Statistical || !may_ask(situation, level) || left == 0 {
                continue;
            }
            let room = situation.room.min(left);
            let modes = if assisted(situation.levels, level) {
                &[0, ASSIST][..]
            } else {
                &[0]
            };
            for &assist in modes {
                offers.extend(self.writing(situation, (&review, &assistant), level, room, assist));
            }
            for below in level + 1..situation.levels.len() {
                let covered =
                    situation.levels[below].kind == Kind::Statistical && description.assisted;
                if may_ask(situation, below) && !covered {
                    offers.extend(self.reviewing(situation, level, below, room));
                }
            }
        }
        offers
    }

    /// The outlook for tokens of some sources in this situation.
    pub(super) fn outlook(
        &self,
        situation: &Situation<'_>,
        sources: &[Source],
        stated: bool,
    ) -> Outlook {
        let reviewer = situation.reviewer;
        let acceptance = self.acceptance;
        let sources: Vec<_> = sources
            .iter()
            .map(|source| source.behind(situation.draft))
            .collect();
        let outlook = acceptance.outlook(self.text, reviewer, &sources, stated);
        let decay = situation.worth.decay;
        Outlook {
            passes: outlook.passes.map(|passes| passes * decay),
            ..outlook
        }
    }

    /// A level writes by itself, until more would not pay. Given what every level's offers rest on: the seconds of the
    /// review by the length of the draft, and the outlook for Max-Gram's tokens.
    fn writing(
        &self,
        situation: &Situation<'_>,
        (review, assistant): (&[f64], &Outlook),
        level: usize,
        room: usize,
        assist: usize,
    ) -> Vec<Offer> {
        let prices = &self.prices[level];
        let rows = situation.levels[level].rows;
        let Some(forward) = prices.token(assist, rows) else {
            return Vec::new();
        };
        let own = Source::by(level, assist > 0);
        let mut all = own.clone();
        all.extend(maxgram(situation, assist));
        let (own, all) = (
            self.outlook(situation, &own, false),
            self.outlook(situation, &all, false),
        );
        let len = situation.draft.len();
        let guesses = usize::from(situation.guessing);
        let hidden = situation.hidden.as_secs_f64() > prices.opening() + forward * room as f64;
        let paid = if hidden { 0.0 } else { forward };
        let state = self.state(situation);
        let worth = |seconds: f64| self.rate * seconds / state.survival.max(1e-3);
        let guess = guess(situation, || all.at(len).next());
        let rows = slopes(&review[len..=len + room]);
        let row = |token: usize| {
            let seconds = rows.get(token).or(rows.last()).copied().unwrap_or(0.0);
            worth(seconds * self.load).max(FAINT / state.survival.max(1e-3))
        };
        let least = |token| Least {
            forward: worth(paid) / guess,
            row: row(token),
        };
        let all = writing::expected(&all, len, least, room);
        let prospects = Prospects {
            own: own.passes.map(|passes| passes as f32),
            shares: own.bands.map(|share| share as f32),
            assistant: match assisted(situation.levels, level) {
                true => assistant.passes.map(|passes| passes as f32),
                false => [0.0; BANDS],
            },
            forward: worth(paid) as f32,
            // A guess has no row, and who writes behind one counts it among what must pass.
            rows: std::array::from_fn(|token| match token.checked_sub(guesses) {
                Some(token) => (row(token) * guess) as f32,
                None => 0.0,
            }),
        };
        let offer = |wanted: usize| Offer {
            turn: Turn {
                level,
                wanted,
                room,
                manner: Manner::Write {
                    assist,
                    prospects: Some(prospects),
                },
            },
            len: all[wanted].len,
            whole: all[wanted].whole,
            gain: all[wanted].gain,
            survival: all[wanted].survival,
            guess,
            seconds: prices.opening() + forward * (all[wanted].forwards.max(1.0) + guesses as f64),
        };
        // The length that is worth most by itself, and shorter ones, for what another level may add.
        let alone = (1..=room).map(|length| (length, self.take(review, &offer(length), state).0));
        let Some((best, _)) = alone.max_by(|a, b| a.1.total_cmp(&b.1)) else {
            return Vec::new();
        };
        let mut lengths = vec![best, best.div_ceil(2), 1];
        lengths.dedup();
        lengths.into_iter().map(offer).collect()
    }

    /// A level reviews what one below it writes, until more would not pay.
    fn reviewing(
        &self,
        situation: &Situation<'_>,
        level: usize,
        below: usize,
        room: usize,
    ) -> Option<Offer> {
        let rows = |level: usize| situation.levels[level].rows;
        let most = (room - 1).min(rows(level).saturating_sub(1));
        let assist = assist(situation.levels, below);
        let (approved, corrected) = (Source::approved(level), Source::corrected(level));
        let worth = Worth {
            first: self.survival(situation),
            decay: self.next(situation, approved, situation.draft.len() + 1),
        };
        let mut authors = Source::by(below, assist > 0);
        authors.extend(maxgram(situation, assist));
        let outlook = self.acceptance.outlook(self.text, level, &authors, false);
        let prices = &self.prices[below];
        let token = match situation.levels[below].kind {
            Kind::Statistical => 0.0,
            Kind::Neural => prices.token(assist, rows(below))?,
        };
        let least = |written| Least {
            forward: self.rate * token / (worth.first * worth.decay.powi(written as i32)),
            row: 0.0,
        };
        let drafts = writing::expected(&outlook, 0, least, most);
        let written = drafts[most].len;
        let write = match situation.levels[below].kind {
            Kind::Statistical => prices.around(),
            Kind::Neural => prices.write(written, assist, rows(below))?,
        };
        // How likely so many tokens pass, how likely those also pass the reviewer above, and what that comes to.
        let (mut passing, mut pass) = (1.0, 1.0);
        let (mut len, mut gain, mut survival) = (0.0, 0.0, 0.0);
        for n in 0..=most {
            let position = situation.draft.len() + n;
            let further = drafts
                .get(n + 1)
                .map_or(0.0, |more| more.gain - drafts[n].gain);
            let own = (passing - further) * pass * self.next(situation, corrected, position);
            len += passing;
            survival += own;
            passing = further;
            pass *= self.next(situation, approved, position);
            gain += own + passing * pass;
        }
        let right = || {
            let passes = drafts.get(1).map_or(0.0, |first| first.gain);
            let position = situation.draft.len();
            passes * self.next(situation, approved, position)
                + (1.0 - passes) * self.next(situation, corrected, position)
        };
        let reviewed = written.round() as usize;
        Some(Offer {
            turn: Turn {
                level,
                wanted: reviewed.clamp(1, room),
                room,
                manner: Manner::Review { worth },
            },
            len,
            whole: 0.0,
            gain,
            survival,
            guess: guess(situation, right),
            seconds: write + self.prices[level].review(reviewed + 1, rows(level))?,
        })
    }

    fn next(&self, situation: &Situation<'_>, source: Source, position: usize) -> f64 {
        let chance = self.acceptance.of_next(
            self.text,
            situation.reviewer,
            source.behind(situation.draft),
            position,
        );
        chance * situation.worth.decay
    }
}

/// What each row more costs of some that cost so much together, from none on. Costs have steps: a row at whose price a
/// whole step of them comes bears its share of that, so that prices never fall (the slopes of the greatest convex function
/// under the costs).
fn slopes(costs: &[f64]) -> Vec<f64> {
    // Pools neighbours that would fall: how many, and their sum.
    let mut pools: Vec<(usize, f64)> = Vec::new();
    for pair in costs.windows(2) {
        let mut pool = (1, pair[1] - pair[0]);
        let mean = |&(count, sum): &(usize, f64)| sum / count as f64;
        while let Some(dearer) = pools.pop_if(|before| mean(before) > mean(&pool)) {
            pool = (pool.0 + dearer.0, pool.1 + dearer.1);
        }
        pools.push(pool);
    }
    let each = |(count, sum)| std::iter::repeat_n(sum / count as f64, count);
    pools.into_iter().flat_map(each).collect()
}

/// Who stands behind tokens that a level's own Max-Gram is sure of.
fn maxgram(situation: &Situation<'_>, assist: usize) -> Option<Source> {
    (assist > 0).then(|| Source::wrote(situation.levels.len() - 1))
}

/// The chance that a guess is right which is as good as this, if one is needed.
pub(super) fn guess(situation: &Situation<'_>, chance: impl FnOnce() -> f64) -> f64 {
    if situation.guessing { chance() } else { 1.0 }
}

/// Tokens that a level may ask of its own Max-Gram before each of its forwards.
pub(super) fn assist(levels: &[Arc<Description>], level: usize) -> usize {
    if assisted(levels, level) { ASSIST } else { 0 }
}

/// Whether a level may take a turn at all.
pub(super) fn may_ask(situation: &Situation<'_>, level: usize) -> bool {
    situation.usable.contains(level) && !situation.ended.contains(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_bear_their_share_of_a_step() {
        let assert = |costs: &[f64], expected: &[f64]| {
            let slopes = slopes(costs);
            let close = slopes
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(close && slopes.len() == expected.len(), "{slopes:?}");
        };
        assert(&[10.0, 10.5, 11.0, 13.0, 15.5], &[0.5, 0.5, 2.0, 2.5]);
        assert(
            &[10.0, 10.0, 14.0, 14.0, 14.0],
            &[0.0, 4.0 / 3.0, 4.0 / 3.0, 4.0 / 3.0],
        );
        assert(&[10.0], &[]);
    }
}
