//! The expected walltime improvement factor (EWIF): how many times as fast as the target alone a cascade writes, if every
//! drafted token is accepted with the same chance whatever happened before.
//!
//! From Chen et al. (arXiv 2312.11462); plain speculation is Leviathan et al.'s (arXiv 2211.17192). All costs are in the
//! target's forwards, so that the target alone has 1. The round trips are ours: the papers have no network. An acceptance of
//! 1 is taken as a shade less, where the formulas divide by zero.

/// The highest acceptance that is computed with.
const SURE: f64 = 1.0 - 1e-9;

/// Tokens that a review of `k` drafted ones brings: those accepted, and one of the reviewer's own.
pub fn tokens(acceptance: f64, k: usize) -> f64 {
    let alpha = acceptance.min(SURE);
    (1.0 - alpha.powi(exponent(k) + 1)) / (1.0 - alpha)
}

/// The generating function of the tokens that such a review brings, at `x`: φ(x) = 1 + (x - 1)(1 - (αx)^(k+1)) / (1 - αx).
pub fn generating(acceptance: f64, k: usize, x: f64) -> f64 {
    let alpha_x = (acceptance * x).min(SURE);
    1.0 + (x - 1.0) * (1.0 - alpha_x.powi(exponent(k) + 1)) / (1.0 - alpha_x)
}

/// A drafter under its reviewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drafter {
    /// The chance that its reviewer accepts a token of it.
    pub acceptance: f64,
    /// A forward of it.
    pub cost: f64,
}

/// Plain speculation: one drafter writes `k` tokens, the target reviews them. `trips`: all round trips of a round.
pub fn plain(drafter: Drafter, k: usize, trips: f64) -> f64 {
    tokens(drafter.acceptance, k) / (1.0 + trips + k as f64 * drafter.cost)
}

/// A vertical cascade: the first drafter writes for the target by reviewing what the second one writes for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vertical {
    /// The drafter under the target.
    pub first: Drafter,
    /// The drafter under that; its acceptance is the first one's.
    pub second: Drafter,
    /// Reviews of the first drafter in a round, …
    pub reviews: usize,
    /// … of so many tokens of the second one each.
    pub fed: usize,
    /// Round trips of a round besides those of its inner reviews.
    pub trips: f64,
    /// Round trips of an inner review.
    pub inner_trips: f64,
}

impl Vertical {
    /// Its EWIF.
    pub fn factor(&self) -> f64 {
        let Self { first, second, .. } = *self;
        let alpha = first.acceptance.min(SURE);
        let brings = generating(second.acceptance, self.fed, alpha).powi(exponent(self.reviews));
        let reviews = self.reviews as f64;
        let inner = first.cost + self.inner_trips + self.fed as f64 * second.cost;
        (1.0 - alpha * brings) / ((1.0 - alpha) * (1.0 + self.trips + reviews * inner))
    }
}

/// A horizontal cascade: each position of a draft is written by the drafter that stands there. `trips`: all round trips of
/// a round.
pub fn horizontal(positions: &[Drafter], trips: f64) -> f64 {
    let (mut brings, mut survival, mut cost) = (1.0, 1.0, 1.0 + trips);
    for drafter in positions {
        survival *= drafter.acceptance;
        brings += survival;
        cost += drafter.cost;
    }
    brings / cost
}

/// Drafts have a few dozen tokens.
fn exponent(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Drafter = Drafter {
        acceptance: 0.8,
        cost: 0.1,
    };

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 0.005, "{found}, not {expected}");
    }

    /// The example of a target of 30 ms, whose levels are all a round trip away.
    #[test]
    fn a_hop_costs_a_chain_more_than_plain_speculation() {
        let second = Drafter {
            acceptance: 0.6,
            cost: 0.02,
        };
        for (milliseconds, chain, plainly) in
            [(0.05, 2.71, 2.47), (1.0, 2.49, 2.42), (3.0, 2.12, 2.32)]
        {
            let trip = milliseconds / 30.0;
            let chains = (1..20).flat_map(|reviews| {
                (0..20).map(move |fed| Vertical {
                    first: SMALL,
                    second,
                    reviews,
                    fed,
                    trips: trip,
                    inner_trips: trip,
                })
            });
            close(
                chains.map(|chain| chain.factor()).fold(0.0, f64::max),
                chain,
            );
            let plains = (0..20).map(|k| plain(SMALL, k, trip));
            close(plains.fold(0.0, f64::max), plainly);
        }
    }

    #[test]
    fn by_hand() {
        // 1 + .5 + .25 tokens for 1 + 2 × .25 forwards.
        let half = Drafter {
            acceptance: 0.5,
            cost: 0.25,
        };
        close(plain(half, 2, 0.0), 1.75 / 1.5);
        close(plain(half, 0, 0.25), 0.8);
        // A review of nothing writes one token: a chain that feeds nothing is plain speculation.
        let chain = Vertical {
            first: half,
            second: half,
            reviews: 2,
            fed: 0,
            trips: 0.0,
            inner_trips: 0.0,
        };
        close(chain.factor(), 1.75 / 1.5);
        // One token half the time, two the other half: x and x².
        close(generating(0.5, 1, 0.4), 0.5 * 0.4 + 0.5 * 0.16);
        // 1 + .8 + .8 × .5 tokens for 1 + .1 + .25 forwards.
        close(horizontal(&[SMALL, half], 0.0), 2.2 / 1.35);
        close(horizontal(&[half; 5], 0.3), plain(half, 5, 0.3));
    }

    #[test]
    fn who_is_always_right_divides_nothing_by_zero() {
        let sure = Drafter {
            acceptance: 1.0,
            cost: 0.0,
        };
        close(plain(sure, 4, 0.0), 5.0);
        let chain = Vertical {
            first: sure,
            second: sure,
            reviews: 2,
            fed: 3,
            trips: 0.0,
            inner_trips: 0.0,
        };
        close(chain.factor(), 9.0);
    }
}
