//! Whether to draft on during reviews: tried, not believed.
//!
//! On hardware of its own a drafter that works during the review costs nothing; on shared cores it slows the review down.
//! Nobody tells the planner which it is. It does what looks better and, now and then, the other: the closer the two look,
//! the more often, for the less that costs and the more it takes to tell them apart.

use super::mean::Mean;

/// The share of all time that may be given up by doing the other.
const EXPLORATION: f64 = 0.0025;
/// The share of rounds that go the other way where both look alike.
const MOST: f64 = 0.06;
/// Reviews of each way before either may look better.
const FIRST: f64 = 12.0;
/// Steps of the golden ratio spread the rounds of the other way evenly, and in no rhythm that texts could share.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// What drafting during reviews costs and brings.
#[derive(Clone, Debug, Default)]
pub(super) struct Trial {
    /// How long reviews take for what was expected of them: without and with drafting beside them.
    reviews: [Mean<48>; 2],
    /// Seconds of drafting that a round waits for when nothing was drafted before, as far as a review hides them.
    drafting: Mean<60>,
    /// How often what was drafted ahead fits.
    fits: Mean<60>,
    rounds: u64,
}

impl Trial {
    /// Whether levels should draft during the next review, which is expected to take so many seconds; and how many of them
    /// that is expected to give up, for what it teaches.
    pub(super) fn next(&mut self, review: f64) -> (bool, f64) {
        self.rounds += 1;
        let [without, with] = self.reviews.map(|reviews| reviews.with_prior(1.0, 1.0));
        let hidden = self.fits.with_prior(0.5, 1.0) * self.drafting.with_prior(0.0, 0.0001);
        let gain = hidden - (with / without - 1.0) * review;
        let unknown = self.reviews.iter().any(|reviews| reviews.weight() < FIRST);
        let share = match unknown {
            true => 0.5,
            false => (EXPLORATION * review / gain.abs().max(f64::EPSILON)).min(MOST),
        };
        let other = (self.rounds as f64 * GOLDEN).fract() < share;
        let given_up = if other && !unknown { gain.abs() } else { 0.0 };
        ((gain > 0.0) != other, given_up)
    }

    /// A review, beside which levels drafted or not, took so many times what was expected.
    pub(super) fn reviewed(&mut self, beside: bool, times: f64) {
        self.reviews[usize::from(beside)].observe(times);
    }

    /// A round whose draft began with nothing waited for so many seconds of drafting, of which its review can hide no more
    /// than its own.
    pub(super) fn drafted(&mut self, seconds: f64, review: f64) {
        self.drafting.observe(seconds.min(review));
    }

    /// Levels have drafted during a review; `fits`: for what it came to say.
    pub(super) fn foreseen(&mut self, fits: bool) {
        self.fits.observe(f64::from(u8::from(fits)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often levels draft during reviews of 10 ms that this slows down so much; every other review takes `uneven` times
    /// as long anyway.
    fn share(slowdown: f64, uneven: f64) -> f64 {
        let mut trial = Trial::default();
        let mut beside = 0;
        for round in 0..2000 {
            let (way, _) = trial.next(0.010);
            beside += u32::from(way);
            let anyway = if round % 2 == 0 { uneven } else { 1.0 };
            trial.reviewed(way, anyway * if way { slowdown } else { 1.0 });
            trial.drafted(0.004, 0.010);
            trial.foreseen(true);
        }
        f64::from(beside) / 2000.0
    }

    #[test]
    fn drafting_hides_where_reviews_do_not_mind_and_is_not_forgotten_where_they_do() {
        assert!(share(1.0, 1.0) > 0.95);
        assert!(share(1.2, 1.0) > 0.9);
        let rarely = share(1.6, 1.0);
        assert!(rarely > 0.0 && rarely < 0.02, "{rarely}");
    }

    #[test]
    fn rounds_that_differ_in_turns_do_not_hide_the_difference() {
        assert!(share(1.1, 1.5) > 0.9);
        assert!(share(1.7, 1.5) < 0.1);
    }

    #[test]
    fn what_it_gives_up_to_learn_is_little() {
        let mut trial = Trial::default();
        let mut given_up = 0.0;
        for _ in 0..2000 {
            let (way, lost) = trial.next(0.010);
            given_up += lost;
            trial.reviewed(way, if way { 1.6 } else { 1.0 });
            trial.drafted(0.004, 0.010);
            trial.foreseen(true);
        }
        assert!(given_up > 0.0 && given_up < 2000.0 * 0.010 * 2.0 * EXPLORATION);
    }
}
