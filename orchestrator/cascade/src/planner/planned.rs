//! The planner's strategy for one text: what it decides is told, and what came of it is learnt.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use csd_level::{Description, DraftToken, Kind};

use super::{
    Book, Planner,
    acceptance::TextAcceptance,
    decision::{Choice, tell_ahead},
    mean::{Mean, Rate},
    openings::{Opening, Promise, opens},
    surplus::{Surplus, beyond},
    value::View,
};
use crate::strategy::{Drafted, Reviewed, Situation, Strategy, Turn, Worth, Wrote};

/// Of a target's forward: who waits for less has not waited for a draft.
const AT_ONCE: f64 = 0.05;

/// What is known of one text.
#[derive(Debug, Default)]
pub(super) struct TextBook {
    pub(super) acceptance: TextAcceptance,
    rate: Rate<16>,
    pub(super) statistical: Mean<12>,
    surplus: Surplus<16>,
    /// Whether drafts are under way that are expected to lose, to learn whether they still do.
    pub(super) tries: bool,
    /// Whether levels draft beside the review that is under way.
    pipelined: bool,
    /// A level that is asked only to learn about it.
    pub(super) probed: Option<usize>,
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
    pub(super) band: usize,
    text: Mutex<TextBook>,
    /// Whether it is being written.
    begun: AtomicBool,
}

impl Drop for Planned {
    fn drop(&mut self) {
        if *self.begun.get_mut() {
            self.planner.texts.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Planned {
    /// A text that nothing is known of yet.
    pub(super) fn new(planner: Arc<Planner>, band: usize) -> Self {
        Self {
            planner,
            band,
            text: Mutex::default(),
            begun: AtomicBool::new(false),
        }
    }

    fn text(&self) -> MutexGuard<'_, TextBook> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn view<'a>(&self, book: &'a Book, text: &'a TextBook) -> View<'a> {
        View {
            prices: &book.prices,
            acceptance: &book.bands[self.band].acceptance,
            text: &text.acceptance,
            rate: self.rate(book, text),
            load: self.load(),
        }
    }

    /// Tokens that a draft of this text is expected to bring beyond the target alone, by what others have.
    pub(super) fn surplus(&self, book: &Book, text: &TextBook) -> f64 {
        let texts = self.load();
        let others = book.bands[self.band].surplus.expected(0.0, texts);
        text.surplus.expected(others, texts)
    }

    /// A level that was only asked to learn about it has answered, or failed.
    fn probed(&self, book: &mut Book, text: &mut TextBook, level: usize, took: Duration) {
        if text.probed.take_if(|probed| *probed == level).is_some() {
            // The round is likely lost for anything else, and texts that share the target's forwards wait for each other.
            book.explored += took.as_secs_f64() * self.load() + self.alone(book);
        }
    }

    /// Counts this text among those that are written, once: it may have waited for its turn.
    fn joins(&self) {
        if !self.begun.swap(true, Ordering::Relaxed) {
            self.planner.texts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Texts that share the target's forwards.
    pub(super) fn load(&self) -> f64 {
        self.planner.texts.load(Ordering::Relaxed).max(1) as f64
    }

    /// Seconds of the target's review of an empty draft; 0 while that is unknown. Texts that nobody drafts for share its
    /// forwards: that one now waits for another's is the price of drafts, and no measure of what there is without them.
    pub(super) fn alone(&self, book: &Book) -> f64 {
        book.prices[0].undrafted(self.load()).unwrap_or(0.0)
    }

    /// Tokens a second: as this text was written lately, as others are, and never less than the target alone.
    pub(super) fn rate(&self, book: &Book, text: &TextBook) -> f64 {
        let review = self.alone(book);
        if review <= 0.0 {
            return 0.0;
        }
        let alone = 1.0 / review;
        let others = book.bands[self.band].rate.with_prior(alone, 4.0 * review);
        text.rate.with_prior(others, 6.0 * review).max(alone)
    }
}

impl Strategy for Planned {
    fn next(&self, situation: &Situation<'_>) -> Option<Turn> {
        self.joins();
        let decision = {
            let mut book = self.planner.book();
            let decision = self.decide(&book, &mut self.text(), situation);
            let level = decision.level(situation);
            book.decisions.count(decision.choice, level);
            book.explored += decision.given_up;
            let mut text = self.text();
            if opens(situation) {
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
        self.joins();
        let mut book = self.planner.book();
        let rate = self.rate(&book, &self.text());
        let review = self.alone(&book);
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
        let review = self.alone(&book);
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
        text.auditions.take_if(|level| *level == report.level);
        book.prices[report.level].drafted(report);
        book.used[report.level] = book.rounds;
        self.probed(&mut book, &mut text, report.level, report.took);
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
            book.prices[report.level].reviewed(report.took, report.timings, !report.beside);
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
        let alone = self.alone(&book);
        let seconds = alone + text.audition;
        if let Some(beyond) = beyond(accepted as f64 + 1.0, seconds, alone) {
            book.bands[self.band].surplus.observe(beyond);
        }
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
        let mut book = self.planner.book();
        let mut text = self.text();
        book.prices[level].failed(took);
        // Others are asked before it is asked again only to learn.
        book.used[level] = book.rounds;
        text.auditions.take_if(|auditions| *auditions == level);
        self.probed(&mut book, &mut text, level, took);
    }

    fn wrote(&self, report: &Wrote) {
        let mut book = self.planner.book();
        let mut text = self.text();
        let promise = text.promise.take();
        let learns = std::mem::take(&mut text.learns);
        text.tries = false;
        // A round that has read a prompt first says nothing of the pace.
        if report.read {
            return;
        }
        let (tokens, seconds) = (report.tokens as f64, report.took.as_secs_f64());
        book.rounds += 1;
        book.seconds += seconds;
        text.rate.observe(tokens, seconds);
        let alone = self.alone(&book);
        let drafting = seconds - alone;
        let waited = report.drafting.as_secs_f64() > AT_ONCE * alone;
        let drafted = report.drafted > 0 || waited;
        let mut beyond = beyond(tokens, seconds, alone);
        if let Some(beyond) = &mut beyond {
            *beyond += book.wake.after(drafted, *beyond, self.load());
        }
        let band = &mut book.bands[self.band];
        if let Some(promise) = promise {
            band.openings.came_to(&promise, tokens - 1.0, drafting);
        }
        band.rate.observe(tokens, seconds);
        if let (true, Some(beyond)) = (drafted && !learns, beyond) {
            band.surplus.observe(beyond);
            text.surplus.observe(beyond);
        }
        if !report.resumed && report.drafted > 0 {
            let drafting = report.drafting.as_secs_f64();
            band.trial.drafted(drafting, seconds - drafting);
        }
        if let Some(fits) = report.foreseen {
            band.trial.foreseen(fits);
        }
    }
}
