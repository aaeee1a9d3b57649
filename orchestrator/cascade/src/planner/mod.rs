//! The planner: a strategy that reads only what it measures.
//!
//! In reading order: `planned` (what is decided and learnt in one text), `choose` (the next turn), `explore` (turns that
//! teach), `offers` (what could be drafted next), `value` (what that is worth), `openings` (what came of such promises),
//! `writing` (how far a level will go that stops by itself), `prices` (what calls cost), `acceptance` (how drafted tokens
//! fare), `source` (who stands behind them), `surplus` (what drafts bring in the end), `trial` (whether to draft during
//! reviews), `patience` (whether to wait for levels that read a prompt), `refusals` (what to prepare for then), `decision`
//! (what was decided and why, for whoever watches), `mean` (what they all count with).
//!
//! There is one planner a cascade, which learns from every text, and one [`Planned`] a text, which knows how that text
//! differs. The target alone is what remains when no offer is worth its time.

mod acceptance;
mod choose;
mod decision;
mod explore;
mod mean;
mod offers;
mod openings;
mod patience;
mod planned;
mod prices;
mod refusals;
mod source;
mod surplus;
mod trial;
mod value;
mod writing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize};

use self::{
    acceptance::Acceptance,
    decision::Tally,
    mean::{Mean, Rate},
    openings::Openings,
    patience::Patience,
    prices::Prices,
    surplus::{Surplus, Wake},
    trial::Trial,
};
pub use self::{decision::Choice, planned::Planned};

/// Rounds after which a level that was not used is worth another look.
const STALE: u64 = 64;
/// Rounds after which a level that was not wanted need not read every prompt, …
const IDLE: u64 = 4 * STALE;
/// … but one in so many.
const FORGOTTEN: u64 = 8;
/// Bands of temperature that learn apart: greedy, usual, high.
const BANDS: usize = 3;

fn band(temperature: f32) -> usize {
    match temperature {
        t if t <= 0.0 => 0,
        t if t <= 0.85 => 1,
        _ => 2,
    }
}

/// What all texts of one temperature have in common.
#[derive(Debug, Default)]
struct Band {
    acceptance: Acceptance,
    /// Tokens a second of a text.
    rate: Rate<256>,
    /// What asking Max-Gram has brought a draft, in tokens.
    statistical: Mean<64>,
    surplus: Surplus<32>,
    openings: Openings,
    trial: Trial,
    patience: Patience,
}

/// What is known of the levels.
#[derive(Debug, Default)]
struct Book {
    prices: Vec<Prices>,
    bands: [Band; BANDS],
    rounds: u64,
    /// Texts that were begun.
    texts: u64,
    /// The round in which a level was last used in a draft for the target, …
    used: Vec<u64>,
    /// … and not only to learn about it.
    wanted: Vec<u64>,
    /// Seconds of all rounds, and of the turns that only taught.
    seconds: f64,
    explored: f64,
    /// Those of auditions among them.
    auditions: f64,
    wake: Wake,
    decisions: Tally,
}

/// Learns from all texts of a cascade.
#[derive(Debug)]
pub struct Planner {
    book: Mutex<Book>,
    /// Texts that are being written.
    texts: AtomicUsize,
}

impl Planner {
    /// A planner for a cascade of so many levels, which knows nothing yet.
    pub fn new(levels: usize) -> Self {
        let book = Book {
            prices: vec![Prices::default(); levels],
            used: vec![0; levels],
            wanted: vec![0; levels],
            decisions: Tally::new(levels),
            ..Book::default()
        };
        Self {
            book: Mutex::new(book),
            texts: AtomicUsize::new(0),
        }
    }

    /// How many levels there are under the target.
    pub fn drafters(&self) -> usize {
        self.book().prices.len() - 1
    }

    /// The levels that a new text should let read its prompt, ascending: those that were of use lately, and now and then
    /// all of them, so that none is forgotten.
    pub fn levels(&self) -> Vec<usize> {
        let mut book = self.book();
        book.texts += 1;
        let all = book.texts.is_multiple_of(FORGOTTEN);
        let of_use = |&level: &usize| {
            let idle = book.rounds.saturating_sub(book.wanted[level]);
            all || !book.prices[level].known() || idle <= IDLE
        };
        (1..book.prices.len()).filter(of_use).collect()
    }

    /// The strategy of one text that is drawn at this temperature.
    pub fn text(self: &Arc<Self>, temperature: f32) -> Planned {
        Planned::new(self.clone(), band(temperature))
    }

    /// How often each choice fell on each level, zeros included.
    pub fn decisions(&self) -> Vec<(Choice, usize, u64)> {
        self.book().decisions.counts()
    }

    /// Seconds that have gone into turns that only taught, of all rounds' seconds.
    pub fn explored(&self) -> f64 {
        self.book().explored
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
