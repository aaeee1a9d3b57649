//! The planner: a strategy that reads only what it measures.
//!
//! In reading order: `choose` (the next turn), `offers` (what could be drafted next and what it is worth), `openings` (what
//! came of such promises), `writing` (how far a level will go that stops by itself), `prices` (what calls cost),
//! `acceptance` (how drafted tokens fare), `surplus` (what drafts bring in the end), `trial` (whether to draft during
//! reviews), `patience` (whether to wait for levels that read a prompt), `refusals` (what to prepare for then), `decision`
//! (what was decided and why, for whoever watches), `mean` (what they all count with).
//!
//! There is one planner a cascade, which learns from every text, and one [`Planned`] a text, which knows how that text
//! differs. The target alone is what remains when no offer is worth its time.

mod acceptance;
mod choose;
mod decision;
mod mean;
mod offers;
mod openings;
mod patience;
mod prices;
mod refusals;
mod surplus;
mod trial;
mod writing;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use csd_level::{Description, DraftToken, Kind};

pub use self::decision::Choice;
use self::{
    acceptance::{Acceptance, TextAcceptance},
    decision::{Tally, tell_ahead},
    mean::{Mean, Rate},
    offers::View,
    openings::{Opening, Openings, Promise},
    patience::Patience,
    prices::Prices,
    surplus::Surplus,
    trial::Trial,
};
use crate::strategy::{Drafted, Reviewed, Situation, Strategy, Turn, Worth, Wrote};

/// Rounds after which a level that was not used is worth another look.
const STALE: u64 = 64;
/// Rounds after which a level that was not wanted need not read every prompt, …
const IDLE: u64 = 4 * STALE;
/// … but one in so many.
const FORGOTTEN: u64 = 8;
/// Of a target's forward: who waits for less has not waited for a draft.
const AT_ONCE: f64 = 0.05;
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
    decisions: Tally,
}

impl Book {
    /// Seconds of the target's review of an empty draft; 0 while that is unknown.
    fn alone(&self) -> f64 {
        self.prices[0].review(1, 1).unwrap_or(0.0)
    }
}

/// Learns from all texts of a cascade.
#[derive(Debug)]
pub struct Planner {
    book: Mutex<Book>,
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
        self.texts.fetch_add(1, Ordering::Relaxed);
        Planned {
            planner: self.clone(),
            band: band(temperature),
            text: Mutex::default(),
        }
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

/// What is known of one text.
#[derive(Debug, Default)]
struct TextBook {
    acceptance: TextAcceptance,
    rate: Rate<16>,
    statistical: Mean<12>,
    surplus: Surplus<16>,
    /// Whether drafts are under way that are expected to lose, to learn whether they still do.
    tries: bool,
    /// Whether levels draft beside the review that is under way.
    pipelined: bool,
    /// A level that is asked only to learn about it.
    probed: Option<usize>,
    /// A level that drafts for nobody, …
    auditions: Option<usize>,
    /// … and seconds that the target would have waited for it.
    audition: f64,
    /// Whether the draft under way for the target was begun only to learn.
    learns: bool,
    /// What the opening of the draft under way was expected to bring.
    promise: Option<Promise>,
}

/// The planner's strategy for one text.
#[derive(Debug)]
pub struct Planned {
    planner: Arc<Planner>,
    band: usize,
    text: Mutex<TextBook>,
}

impl Drop for Planned {
    fn drop(&mut self) {
        self.planner.texts.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Planned {
    fn text(&self) -> MutexGuard<'_, TextBook> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view<'a>(&self, book: &'a Book, text: &'a TextBook) -> View<'a> {
        View {
            prices: &book.prices,
            acceptance: &book.bands[self.band].acceptance,
            text: &text.acceptance,
            rate: self.rate(book, text),
            load: self.load(),
        }
    }

    /// Tokens that a draft of this text is expected to bring beyond the target alone, by what others have.
    fn surplus(&self, book: &Book, text: &TextBook) -> f64 {
        text.surplus
            .expected(book.bands[self.band].surplus.expected(0.0))
    }

    /// Texts that share the target's forwards.
    fn load(&self) -> f64 {
        self.planner.texts.load(Ordering::Relaxed).max(1) as f64
    }

    /// Tokens a second: as this text was written lately, as others are, and never less than the target alone.
    fn rate(&self, book: &Book, text: &TextBook) -> f64 {
        let Some(review) = book.prices[0].review(1, 1) else {
            return 0.0;
        };
        let alone = 1.0 / review;
        let others = book.bands[self.band].rate.with_prior(alone, 4.0 * review);
        text.rate.with_prior(others, 6.0 * review).max(alone)
    }
}

impl Strategy for Planned {
    fn next(&self, situation: &Situation<'_>) -> Option<Turn> {
        let decision = {
            let mut book = self.planner.book();
            let decision = self.decide(&book, &mut self.text(), situation);
            let level = decision.level(situation);
            book.decisions.count(decision.choice, level);
            book.explored += decision.given_up;
            let mut text = self.text();
            if situation.reviewer == 0 {
                text.learns = decision.choice == Choice::Probe;
            }
            text.tries |= decision.given_up > 0.0;
            if !text.learns && decision.turn.is_some() {
                book.wanted[level] = book.rounds;
            }
            if let Some(opening) = Opening::of(situation, decision.turn) {
                let round = book.rounds;
                let openings = &mut book.bands[self.band].openings;
                openings.taken(opening, round);
                let promise = |worth| Promise {
                    opening,
                    worth: worth - openings.beyond(opening),
                    rate: decision.reasons.rate,
                };
                text.promise = decision.reasons.worth.map(promise);
            }
            decision
        };
        decision.tell(situation);
        decision.turn
    }

    fn keep(&self, situation: &Situation<'_>, level: usize, tokens: &[DraftToken]) -> usize {
        if situation.levels[level].kind == Kind::Neural {
            return tokens.len();
        }
        let mut book = self.planner.book();
        let mut text = self.text();
        let (kept, brought) = {
            let view = self.view(&book, &text);
            let offers = view.offers(situation);
            let bare = Situation {
                draft: &[],
                worth: Worth {
                    first: 1.0,
                    ..situation.worth
                },
                ..*situation
            };
            let otherwise = view
                .best(&bare, &offers, |_| 0.0)
                .map_or(0.0, |(_, worth)| worth);
            view.keep(situation, tokens, otherwise.max(0.0))
        };
        book.bands[self.band].statistical.observe(brought);
        text.statistical.observe(brought);
        kept
    }

    fn patience(&self) -> Duration {
        let mut book = self.planner.book();
        let rate = self.rate(&book, &self.text());
        let review = book.alone();
        book.bands[self.band].patience.next(review, rate)
    }

    fn waited(&self, took: Duration, read: bool) {
        let mut book = self.planner.book();
        book.bands[self.band].patience.waited(took, read);
        if !read {
            book.explored += took.as_secs_f64();
        }
    }

    fn pipelined(&self) -> bool {
        let mut book = self.planner.book();
        let review = book.alone();
        let (pipelined, given_up) = book.bands[self.band].trial.next(review);
        book.explored += given_up;
        self.text().pipelined = pipelined;
        let choice = if pipelined {
            Choice::DraftAhead
        } else {
            Choice::Wait
        };
        book.decisions.count(choice, 0);
        drop(book);
        tell_ahead(choice, review);
        pipelined
    }

    fn refusals(&self, levels: &[Arc<Description>], draft: &[DraftToken]) -> Vec<usize> {
        let book = self.planner.book();
        self.view(&book, &self.text()).refusals(levels, draft)
    }

    fn expected_review(&self, level: usize, rows: usize) -> Duration {
        let seconds = self.planner.book().prices[level].review(rows, rows);
        Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default()
    }

    fn drafted(&self, report: &Drafted<'_>) {
        let mut book = self.planner.book();
        let mut text = self.text();
        // Nobody looks at once whether an audition is over.
        let audition = text.auditions.take_if(|level| *level == report.level);
        let alone = !text.pipelined && audition.is_none();
        book.prices[report.level].drafted(report, alone);
        book.used[report.level] = book.rounds;
        if text.probed == Some(report.level) {
            text.probed = None;
            // The round is likely lost for anything else, and texts that share the target's forwards wait for each other.
            book.explored += report.took.as_secs_f64() * self.load() + book.alone();
        }
    }

    fn reviewed(&self, report: &Reviewed<'_>) {
        let mut book = self.planner.book();
        let mut text = self.text();
        // A review that had to read the prompt first says nothing of the others.
        let rows = report.draft.len() + 1;
        if report.timings.rows == rows {
            let times = book.prices[report.level].times_expected(rows, report.took);
            if let (0, Some(times)) = (report.level, times) {
                let trial = &mut book.bands[self.band].trial;
                trial.reviewed(text.pipelined, times);
            }
            let alone = report.level == 0 || !text.pipelined;
            book.prices[report.level].reviewed(report.took, report.timings, alone);
        }
        let acceptance = &mut book.bands[self.band].acceptance;
        acceptance.observe(
            &mut text.acceptance,
            report.level,
            report.draft,
            report.accepted,
        );
        book.used[report.level] = book.rounds;
        text.pipelined &= report.level > 0;
    }

    fn audition(&self, situation: &Situation<'_>) -> Option<Turn> {
        let decision = {
            let mut book = self.planner.book();
            let mut text = self.text();
            let decision = self.auditions(&book, &text, situation)?;
            let level = decision.level(situation);
            book.decisions.count(decision.choice, level);
            book.auditions += decision.given_up;
            book.explored += decision.given_up;
            text.auditions = Some(level);
            text.audition = decision.reasons.seconds.unwrap_or(0.0);
            decision
        };
        decision.tell(situation);
        decision.turn
    }

    fn auditioned(&self, tokens: &[DraftToken], accepted: usize) {
        let mut book = self.planner.book();
        let mut text = self.text();
        // What would have come of it, had the target waited.
        let (alone, written) = (book.alone(), accepted as f64 + 1.0);
        let seconds = alone + text.audition;
        let surplus = &mut book.bands[self.band].surplus;
        surplus.observe(written, seconds, alone);
        let acceptance = &mut book.bands[self.band].acceptance;
        acceptance.observe(&mut text.acceptance, 0, tokens, accepted);
    }

    fn guessed(&self, guess: &DraftToken, right: bool) {
        let mut book = self.planner.book();
        let mut text = self.text();
        let acceptance = &mut book.bands[self.band].acceptance;
        let guess = std::slice::from_ref(guess);
        acceptance.observe(&mut text.acceptance, 0, guess, usize::from(right));
    }

    fn failed(&self, level: usize, took: Duration) {
        self.planner.book().prices[level].failed(took);
    }

    fn wrote(&self, report: &Wrote) {
        let mut book = self.planner.book();
        let mut text = self.text();
        let (tokens, seconds) = (report.tokens as f64, report.took.as_secs_f64());
        book.rounds += 1;
        book.seconds += seconds;
        text.rate.observe(tokens, seconds);
        let alone = book.alone();
        let drafting = seconds - alone;
        let band = &mut book.bands[self.band];
        if let Some(promise) = text.promise.take() {
            band.openings.came_to(&promise, tokens - 1.0, drafting);
        }
        band.rate.observe(tokens, seconds);
        text.tries = false;
        let waited = report.drafting.as_secs_f64() > AT_ONCE * alone;
        if (report.drafted > 0 || waited) && !text.learns {
            band.surplus.observe(tokens, seconds, alone);
            text.surplus.observe(tokens, seconds, alone);
        }
        if !report.resumed && report.drafted > 0 {
            let drafting = report.drafting.as_secs_f64();
            band.trial
                .drafted(drafting, seconds - drafting, report.foreseen);
        }
    }
}
