//! Geometric means with 95 % intervals.
//!
//! Speeds multiply: a machine that is busy for a while slows every arm by the same factor. So logarithms are averaged, of
//! speeds as of ratios of pairs, and the interval is Student's over them. The ratio of two arms' means is then the mean of
//! their ratios, and only its interval is narrower than theirs: what pairing is for.

use serde::Serialize;

/// A geometric mean, and where it lies with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Interval {
    /// The mean.
    pub(crate) mean: f64,
    /// The lower end; one value has no spread.
    pub(crate) low: Option<f64>,
    /// The upper end.
    pub(crate) high: Option<f64>,
}

impl Interval {
    /// Of positive values, if there are any.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let logs: Vec<f64> = values.map(f64::ln).collect();
        if logs.is_empty() {
            return None;
        }
        let count = logs.len() as f64;
        let centre = logs.iter().sum::<f64>() / count;
        if logs.len() < 2 {
            return Some(Self {
                mean: centre.exp(),
                low: None,
                high: None,
            });
        }
        let squares = logs.iter().map(|log| (log - centre).powi(2));
        let variance = squares.sum::<f64>() / (count - 1.0);
        let half = student(count - 1.0) * (variance / count).sqrt();
        Some(Self {
            mean: centre.exp(),
            low: Some((centre - half).exp()),
            high: Some((centre + half).exp()),
        })
    }

    /// Of the ratios of pairs, `own` over `base`.
    pub(crate) fn of_ratios(own: &[f64], base: &[f64]) -> Option<Self> {
        Self::of(own.iter().zip(base).map(|(own, base)| own / base))
    }
}

/// The 97.5 % point of Student's distribution: exact for one and two degrees of freedom, else Cornish and Fisher's
/// expansion around the normal distribution's (Abramowitz & Stegun 26.7.5), within 1 % from three on.
fn student(freedom: f64) -> f64 {
    const Z: f64 = 1.959_964;
    if freedom < 2.0 {
        return 12.706;
    }
    if freedom < 3.0 {
        return 4.303;
    }
    let (z3, z5, z7) = (Z.powi(3), Z.powi(5), Z.powi(7));
    let terms = [
        (z3 + Z) / 4.0,
        (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / 96.0,
        (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / 384.0,
    ];
    let powers = (1..).map(|power| freedom.powi(power));
    Z + terms
        .iter()
        .zip(powers)
        .map(|(term, power)| term / power)
        .sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_points_are_those_of_the_tables() {
        for (freedom, expected) in [
            (1.0, 12.706),
            (3.0, 3.182),
            (5.0, 2.571),
            (11.0, 2.201),
            (29.0, 2.045),
        ] {
            let point = student(freedom);
            assert!((point / expected - 1.0).abs() < 0.01, "{freedom}: {point}");
        }
    }

    #[test]
    fn what_slows_both_of_a_pair_does_not_widen_their_ratio() {
        let base = [100.0, 50.0, 200.0, 80.0];
        let own: Vec<f64> = base.iter().map(|speed| speed * 2.0).collect();
        let ratio = Interval::of_ratios(&own, &base).expect("four pairs");
        let spread = ratio.low.zip(ratio.high);
        assert!((ratio.mean - 2.0).abs() < 1e-9);
        assert!(spread.is_some_and(|(low, high)| high - low < 1e-9));
        let alone = Interval::of(own.into_iter()).expect("four");
        assert!(
            alone.low < Some(100.0) && alone.high > Some(300.0),
            "{alone:?}"
        );
    }

    #[test]
    fn one_value_has_no_spread_and_none_no_mean() {
        let one = Interval::of([4.0].into_iter()).expect("one");
        assert!((one.mean - 4.0).abs() < 1e-9);
        assert_eq!((one.low, one.high), (None, None));
        assert_eq!(Interval::of([].into_iter()), None);
    }
}
