//! How a level's writing will go that stops by itself once more would not pay.
//!
//! The chance that a draft passes falls from token to token by what the author knows of each. Its distribution is carried
//! along over a grid of logarithms: how many tokens will be written, and what they will be worth, for every length at once.

use csd_level::prospects::BANDS;

use super::acceptance::Outlook;

/// Steps of the grid for a factor of e, and how many.
const FINE: f64 = 6.0;
const STEPS: usize = 25;

/// Tokens of text that a token must be expected to bring.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Least {
    /// For the forward that writes it, …
    pub(super) forward: f64,
    /// … and for its row in the review.
    pub(super) row: f64,
}

/// What so many tokens at most come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Expected {
    /// Forwards that will be made, one for each token and for one that may be left out.
    pub(super) forwards: f64,
    /// Tokens that will be written.
    pub(super) len: f64,
    /// Tokens of text that they bring, if everything before them passes.
    pub(super) gain: f64,
    /// The chance that all of them pass.
    pub(super) survival: f64,
    /// The chance that none is left out.
    pub(super) whole: f64,
}

/// One more token, its bands in the order of their chances: those that are worth their row are the last ones.
struct Token {
    /// The chance that it passes, ascending.
    passes: [f64; BANDS],
    /// What the last bands come to, all of them first.
    last: [Last; BANDS + 1],
}

/// Some bands together.
#[derive(Clone, Copy)]
struct Last {
    /// How likely they are, …
    share: f64,
    /// … and that such a token passes.
    passing: f64,
    /// How likely a draft falls by so many steps of the grid, or by more.
    falls: [f64; STEPS],
}

impl Token {
    fn of(outlook: &Outlook, position: usize) -> Self {
        let outlook = outlook.at(position);
        let mut bands: [(f64, f64); BANDS] =
            std::array::from_fn(|band| (outlook.passes[band], outlook.bands[band]));
        bands.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut together = Last {
            share: 0.0,
            passing: 0.0,
            falls: [0.0; STEPS],
        };
        let mut last = [together; BANDS + 1];
        for (band, (passes, share)) in bands.into_iter().enumerate().rev() {
            together.share += share;
            together.passing += share * passes;
            let fall = -passes.max(1e-6).ln() * FINE;
            let (steps, part) = (fall as usize, fall.fract());
            together.falls[steps.min(STEPS - 1)] += share * (1.0 - part);
            together.falls[(steps + 1).min(STEPS - 1)] += share * part;
            last[band] = together;
        }
        Self {
            passes: bands.map(|(passes, _)| passes),
            last,
        }
    }
}

/// Writing at most 0, 1, … `most` tokens behind a draft of `behind` tokens, of which the n-th (from 0) must be expected to
/// bring `least(n)`.
pub(super) fn expected(
    outlook: &Outlook,
    behind: usize,
    least: impl Fn(usize) -> Least,
    most: usize,
) -> Vec<Expected> {
    let survival: [f64; STEPS] = std::array::from_fn(|step| (-(step as f64) / FINE).exp());
    let mut now = Expected {
        survival: 1.0,
        whole: 1.0,
        ..Expected::default()
    };
    let mut all = vec![now];
    // How likely which chance is of those drafts that go on; and the chance that one passes which has ended.
    let mut grid = [0.0; STEPS];
    grid[0] = 1.0;
    let mut ended = 0.0;
    let mut token = Token::of(outlook, behind);
    while all.len() <= most && now.whole > 1e-3 {
        let written = all.len() - 1;
        if written > 0 && Outlook::changes_at(behind + written) {
            token = Token::of(outlook, behind + written);
        }
        let least = least(written);
        // Whatever falls below the grid stays on its last step.
        let mut after = [0.0; 2 * STEPS];
        let mut passing = 0.0;
        now.whole = 0.0;
        let mut less = 0;
        for (step, (&mass, survival)) in grid.iter().zip(survival).enumerate() {
            if mass <= 1e-6 {
                continue;
            }
            // The further a draft has fallen, the fewer bands are worth their row.
            let worth_less = |passes: &&f64| survival * **passes < least.row;
            less += token.passes[less..].iter().take_while(worth_less).count();
            let kept = &token.last[less];
            let brings = survival * kept.passing - least.row * kept.share;
            if brings <= 0.0 || brings < least.forward {
                ended += mass * survival;
                continue;
            }
            now.forwards += mass;
            now.whole += mass * kept.share;
            passing += mass * survival * kept.passing;
            ended += mass * survival * (1.0 - kept.share);
            for (after, falls) in after[step..].iter_mut().zip(&kept.falls) {
                *after += mass * falls;
            }
        }
        now.len += now.whole;
        now.gain += passing;
        now.survival = ended + passing;
        let (on, below) = after.split_at(STEPS);
        grid.copy_from_slice(on);
        grid[STEPS - 1] += below.iter().sum::<f64>();
        all.push(now);
    }
    // Hardly any draft gets further.
    all.resize(most + 1, now);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sorts of tokens, sure ones and others.
    fn outlook(sure: f64, passes: [f64; 2]) -> Outlook {
        let mut outlook = Outlook {
            bands: [0.0; BANDS],
            passes: [1.0; BANDS],
            places: [1.0; 3],
        };
        (outlook.bands[0], outlook.bands[1]) = (1.0 - sure, sure);
        (outlook.passes[0], outlook.passes[1]) = (passes[0], passes[1]);
        outlook
    }

    fn forward(forward: f64) -> impl Fn(usize) -> Least {
        move |_| Least { forward, row: 0.0 }
    }

    #[test]
    fn without_a_price_everything_is_written() {
        let all = expected(&outlook(0.5, [0.8, 0.8]), 0, forward(0.0), 4);
        assert!((all[4].len - 4.0).abs() < 1e-9);
        let gain = 0.8 + 0.8f64.powi(2) + 0.8f64.powi(3) + 0.8f64.powi(4);
        assert!((all[4].gain - gain).abs() < 0.02, "{all:?}");
        assert!((all[4].survival - 0.8f64.powi(4)).abs() < 0.02, "{all:?}");
    }

    #[test]
    fn who_knows_what_will_fail_writes_less_and_loses_nothing() {
        let knowing = expected(&outlook(0.8, [0.0, 1.0]), 0, forward(0.1), 16)[16];
        let blind = expected(&outlook(0.8, [0.8, 0.8]), 0, forward(0.0), 16)[16];
        assert!(
            (knowing.gain - blind.gain).abs() < 0.1,
            "{knowing:?} {blind:?}"
        );
        assert!(
            knowing.len < 5.1 && blind.len > 15.9,
            "{knowing:?} {blind:?}"
        );
    }

    #[test]
    fn what_does_not_pay_is_not_begun() {
        assert_eq!(
            expected(&outlook(0.5, [0.1, 0.3]), 0, forward(0.5), 3)[3].len,
            0.0
        );
    }

    #[test]
    fn what_is_not_worth_its_row_is_left_out() {
        let row = |row| move |_| Least { forward: 0.0, row };
        let all = expected(&outlook(0.8, [0.1, 1.0]), 0, row(0.2), 16)[16];
        // A sure token stays, at the first unsure one everything ends: 0.8 + 0.8² + … tokens, all of which pass.
        assert!((all.len - 4.0).abs() < 0.2, "{all:?}");
        assert!((all.gain - all.len).abs() < 0.05, "{all:?}");
        assert!((all.survival - 1.0).abs() < 0.01, "{all:?}");
        assert!((all.forwards - all.len - 1.0).abs() < 0.1, "{all:?}");
    }
}
