//! What could be drafted next, and what each possibility is worth.
//!
//! A text is written at some rate R (tokens a second), so a second is worth R tokens, and a turn pays while the tokens it
//! is expected to bring outrun the time it takes at that price: at the best rate the best round is worth exactly nothing
//! more than its time (Dinkelbach, *On nonlinear fractional programming*, 1967; foragers know it as the marginal value
//! theorem, Charnov 1976). A turn is judged together with the best that may follow it, for a cheap drafter whose tokens
//! fail leaves nothing to build on.

use csd_level::{Kind, Prospects};

use super::{
    acceptance::{Acceptance, Outlook, Source, TextAcceptance},
    prices::Prices,
    writing,
};
use crate::strategy::{Manner, Situation, Turn, Worth};

/// Tokens that a level asks of its own Max-Gram before each of its forwards.
pub(super) const ASSIST: usize = 4;
/// A chance to count with which a token of Max-Gram is not kept, whatever its row seems to cost: it costs more beside the
/// rows of other texts.
const FAINT: f64 = 0.03;
/// Turns that are thought ahead.
const HORIZON: usize = 16;

/// What the levels cost and how their tokens fare, as one text sees it.
pub(super) struct View<'a> {
    pub(super) prices: &'a [Prices],
    pub(super) acceptance: &'a Acceptance,
    pub(super) text: &'a TextAcceptance,
    /// Tokens a second: the price of time.
    pub(super) rate: f64,
    /// Texts that wait for the same forwards.
    pub(super) load: f64,
}

/// A possible turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) turn: Turn,
    /// Tokens that it adds to the draft, on average.
    len: f64,
    /// The chance that it adds all that is wanted.
    whole: f64,
    /// Tokens of text that it is expected to bring, if everything before it passes.
    pub(super) gain: f64,
    /// The chance that all of it passes.
    survival: f64,
    /// The chance that the guess before it is right, 1 where none is needed: else all of it is for nothing.
    guess: f64,
    /// How long it takes.
    pub(super) seconds: f64,
}

impl Offer {
    /// Seconds of the review of what it makes of a draft of so many tokens: costs have steps, so those of the average
    /// length are not the average costs.
    fn review(&self, rows: &[f64], len: f64) -> f64 {
        let wanted = self.turn.wanted as f64;
        let cut = (self.len - self.whole * wanted) / (1.0 - self.whole).max(1e-6);
        self.whole * at(rows, len + wanted) + (1.0 - self.whole) * at(rows, len + cut)
    }
}

/// How a draft stands.
#[derive(Clone, Copy)]
struct State {
    survival: f64,
    len: f64,
    hidden: f64,
    /// Whether a guess must be drafted first.
    guessing: bool,
}

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
            let modes = if description.assisted {
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
        let guesses = f64::from(u8::from(situation.guessing));
        let hidden = situation.hidden.as_secs_f64() > prices.opening() + forward * room as f64;
        let paid = if hidden { 0.0 } else { forward };
        let state = self.state(situation);
        let worth = |seconds: f64| self.rate * seconds / state.survival.max(1e-3);
        let guess = guess(situation, || all.at(len).next());
        let all = writing::expected(&all, len, |_| worth(paid) / guess, room);
        // What a row of the review costs, on average up to there.
        let row = |tokens: usize| (review[len + tokens] - review[len]) / tokens as f64 * self.load;
        let offer = |wanted: usize| {
            let prospects = Prospects {
                own: own.passes.map(|passes| passes as f32),
                assistant: assistant.passes.map(|passes| passes as f32),
                next: own.next() as f32,
                forward: worth(paid + row(wanted)) as f32,
                // Max-Gram's tokens may go on to the end of the room: what is free for a few is not for so many.
                row: worth(row(wanted).max(row(room))).max(FAINT / state.survival.max(1e-3)) as f32,
            };
            Offer {
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
                seconds: prices.opening() + forward * (all[wanted].len.max(1.0) + guesses),
            }
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
        let assisted = situation.levels[below].assisted;
        let assist = if assisted { ASSIST } else { 0 };
        let (approved, corrected) = (Source::approved(level), Source::corrected(level));
        let worth = Worth {
            first: self.survival(situation),
            decay: self.next(situation, approved, situation.draft.len() + 1),
        };
        let mut authors = Source::by(below, assisted);
        authors.extend(maxgram(situation, assist));
        let outlook = self.acceptance.outlook(self.text, level, &authors, false);
        let prices = &self.prices[below];
        let token = match situation.levels[below].kind {
            Kind::Statistical => 0.0,
            Kind::Neural => prices.token(assist, rows(below))?,
        };
        let least = |written| self.rate * token / (worth.first * worth.decay.powi(written as i32));
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

    /// The chance that the next token counts, as far as the draft before it decides.
    pub(super) fn survival(&self, situation: &Situation<'_>) -> f64 {
        let chance = |token| {
            self.acceptance
                .of_token(self.text, situation.reviewer, token)
                * situation.worth.decay
        };
        situation.worth.first * Source::along(situation.draft).map(chance).product::<f64>()
    }

    /// The turn that is worth most, and its worth in tokens beyond what its time would bring anyway; `beyond`: what each
    /// is known to bring besides.
    pub(super) fn best(
        &self,
        situation: &Situation<'_>,
        offers: &[Offer],
        beyond: impl Fn(&Offer) -> f64,
    ) -> Option<(Offer, f64)> {
        let rows = self.rows(situation);
        let state = self.state(situation);
        let valued = offers.iter().map(|offer| {
            let (worth, after) = self.take(&rows, offer, state);
            let follow = |next: &Offer| self.follow(&rows, next, after);
            let then = offers.iter().map(follow).fold(0.0, f64::max);
            (*offer, worth + offer.guess * then + beyond(offer))
        });
        valued.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn state(&self, situation: &Situation<'_>) -> State {
        State {
            survival: self.survival(situation),
            len: situation.draft.len() as f64,
            hidden: situation.hidden.as_secs_f64(),
            guessing: situation.guessing,
        }
    }

    /// What taking an offer is worth by itself, and how the draft stands after it.
    fn take(&self, rows: &[f64], offer: &Offer, state: State) -> (f64, State) {
        let seconds = (offer.seconds - state.hidden).max(0.0);
        let more = offer.review(rows, state.len) - at(rows, state.len);
        let brings = state.survival * offer.gain - self.rate * self.load * more;
        let guess = if state.guessing { offer.guess } else { 1.0 };
        let worth = guess * brings - self.rate * seconds;
        let after = State {
            survival: state.survival * offer.survival,
            len: state.len + offer.len,
            hidden: (state.hidden - offer.seconds).max(0.0),
            guessing: false,
        };
        (worth, after)
    }

    /// What repeating an offer is worth, as often as it pays.
    fn follow(&self, rows: &[f64], offer: &Offer, mut state: State) -> f64 {
        let most = (rows.len() - 1) as f64;
        let (mut total, mut best) = (0.0, 0.0f64);
        for _ in 0..HORIZON {
            if state.len + offer.len > most + 0.5 || state.survival < 0.02 {
                break;
            }
            let (worth, after) = self.take(rows, offer, state);
            total += worth;
            best = best.max(total);
            state = after;
        }
        best
    }

    /// Seconds of the review of a draft, by its length.
    fn rows(&self, situation: &Situation<'_>) -> Vec<f64> {
        let cheap = situation.levels[situation.reviewer].rows;
        let prices = &self.prices[situation.reviewer];
        let seconds = |len| prices.review(1 + len, cheap).unwrap_or(0.0);
        (0..=situation.draft.len() + situation.room)
            .map(seconds)
            .collect()
    }

    /// How many of some tokens, which cost nothing more to keep, are worth their rows and their place before a draft that
    /// would bring `otherwise` tokens behind certain ones; and how much the draft gains by them.
    pub(super) fn keep(
        &self,
        situation: &Situation<'_>,
        tokens: &[csd_level::DraftToken],
        otherwise: f64,
    ) -> (usize, f64) {
        let before = self.survival(situation);
        let len = situation.draft.len();
        let (mut survival, mut gain) = (before, 0.0);
        let mut best = (0, before * otherwise);
        let rows = self.rows(situation);
        for (index, token) in tokens.iter().take(situation.room).enumerate() {
            let chance = self.acceptance.of_token(
                self.text,
                situation.reviewer,
                (token, Source::of(token).behind(situation.draft)),
            );
            survival *= chance * situation.worth.decay;
            if survival < FAINT {
                break;
            }
            gain += survival;
            let more = rows[len + index + 1] - rows[len];
            let worth = gain + survival * otherwise - self.rate * self.load * more;
            if worth > best.1 {
                best = (index + 1, worth);
            }
        }
        (best.0, best.1 - before * otherwise)
    }
}

/// Seconds of the review of a draft of about so many tokens.
fn at(rows: &[f64], len: f64) -> f64 {
    rows[((len + 0.5) as usize).min(rows.len() - 1)]
}

/// Who stands behind tokens that a level's own Max-Gram is sure of.
fn maxgram(situation: &Situation<'_>, assist: usize) -> Option<Source> {
    (assist > 0).then(|| Source::wrote(situation.levels.len() - 1))
}

/// The chance that a guess is right which is as good as this, if one is needed.
pub(super) fn guess(situation: &Situation<'_>, chance: impl FnOnce() -> f64) -> f64 {
    if situation.guessing { chance() } else { 1.0 }
}

/// Whether a level may take a turn at all.
pub(super) fn may_ask(situation: &Situation<'_>, level: usize) -> bool {
    situation.usable.contains(level) && !situation.ended.contains(level)
}
