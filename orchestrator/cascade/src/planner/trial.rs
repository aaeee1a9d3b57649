//! Whether to draft on during reviews: tried, not believed.
//!
//! On hardware of its own a drafter that works during the review costs nothing; on shared cores it slows the review down.
//! Nobody tells the planner which it is. Now and then it alternates round by round and compares how long reviews take.

use super::mean::Mean;

/// Rounds of the first trial, …
const FIRST: u32 = 16;
/// … of later ones, …
const LATER: u32 = 8;
/// … and rounds between them.
const BETWEEN: u32 = 800;

/// What drafting during reviews costs and brings.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// How long reviews take for what was expected of them: without and with drafting beside them.
    reviews: [Mean<12>; 2],
    /// Seconds of drafting that a round waits for when nothing was drafted before.
    drafting: Mean<60>,
    /// How often what was drafted ahead fits.
    fits: Mean<60>,
    /// Rounds left of the present trial, or until the next.
    left: u32,
    trying: bool,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            reviews: [Mean::default(); 2],
            drafting: Mean::default(),
            fits: Mean::default(),
            left: FIRST,
            trying: true,
        }
    }
}

impl Trial {
    /// Whether levels should draft during the next review, which is expected to take so many seconds.
    pub(super) fn next(&mut self, review: f64) -> bool {
        if self.left == 0 {
            self.trying = !self.trying;
            self.left = if self.trying { LATER } else { BETWEEN };
        }
        self.left -= 1;
        if self.trying {
            return self.left.is_multiple_of(2);
        }
        let [without, with] = self.reviews.map(|reviews| reviews.with_prior(1.0, 1.0));
        let hidden = self.fits.with_prior(0.5, 1.0) * self.drafting.with_prior(0.0, 0.0001);
        hidden > (with / without - 1.0) * review
    }

    /// A review, beside which levels drafted or not, took so many times what was expected. Only trials count: they compare
    /// like with like.
    pub(super) fn reviewed(&mut self, beside: bool, times: f64) {
        if self.trying {
            self.reviews[usize::from(beside)].observe(times);
        }
    }

    /// A round whose draft began with nothing waited for so many seconds of drafting. `fits`: what was drafted ahead fits what
    /// its review said, or would have.
    pub(super) fn drafted(&mut self, seconds: f64, fits: bool) {
        self.drafting.observe(seconds);
        self.fits.observe(f64::from(u8::from(fits)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often levels draft during reviews of 10 ms that this slows down so much.
    fn share(slowdown: f64) -> f64 {
        let mut trial = Trial::default();
        let mut beside = 0;
        for _ in 0..2000 {
            let way = trial.next(0.010);
            beside += u32::from(way);
            trial.reviewed(way, if way { slowdown } else { 1.0 });
            trial.drafted(0.004, true);
        }
        f64::from(beside) / 2000.0
    }

    #[test]
    fn drafting_hides_where_reviews_do_not_mind_and_is_not_forgotten_where_they_do() {
        assert!(share(1.0) > 0.95);
        assert!(share(1.2) > 0.9);
        let rarely = share(1.6);
        assert!(rarely > 0.0 && rarely < 0.02, "{rarely}");
    }
}
