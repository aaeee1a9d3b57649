//! Running means, rates and lines that forget.

/// A mean over roughly the last `MEMORY` observations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Mean<const MEMORY: u32> {
    value: f64,
    weight: f64,
}

impl<const MEMORY: u32> Mean<MEMORY> {
    /// Takes one more observation in.
    pub(super) fn observe(&mut self, value: f64) {
        self.weight = (self.weight + 1.0).min(f64::from(MEMORY));
        self.value += (value - self.value) / self.weight;
    }

    /// The mean, if anything was observed.
    pub(super) fn get(&self) -> Option<f64> {
        (self.weight > 0.0).then_some(self.value)
    }

    /// How many observations it stands for.
    pub(super) fn weight(&self) -> f64 {
        self.weight
    }

    /// The mean with a guess that counts as `weight` observations.
    pub(super) fn with_prior(&self, guess: f64, weight: f64) -> f64 {
        (self.value * self.weight + guess * weight) / (self.weight + weight)
    }
}

/// So much for so much, over roughly the last `MEMORY` observations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate<const MEMORY: u32> {
    gained: f64,
    spent: f64,
}

impl<const MEMORY: u32> Rate<MEMORY> {
    /// Takes one more observation in.
    pub(super) fn observe(&mut self, gained: f64, spent: f64) {
        let keep = 1.0 - 1.0 / f64::from(MEMORY);
        self.gained = self.gained * keep + gained;
        self.spent = self.spent * keep + spent;
    }

    /// The rate with a guess that counts as if so much had been spent at it.
    pub(super) fn with_prior(&self, guess: f64, spent: f64) -> f64 {
        let all = self.spent + spent;
        if all > 0.0 {
            (self.gained + guess * spent) / all
        } else {
            guess
        }
    }
}

/// What grows with something and what does not: a line through roughly the last `MEMORY` observations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Line<const MEMORY: u32> {
    x: Mean<MEMORY>,
    y: Mean<MEMORY>,
    xx: Mean<MEMORY>,
    xy: Mean<MEMORY>,
}

impl<const MEMORY: u32> Line<MEMORY> {
    /// Takes one more observation in.
    pub(super) fn observe(&mut self, x: f64, y: f64) {
        self.x.observe(x);
        self.y.observe(y);
        self.xx.observe(x * x);
        self.xy.observe(x * y);
    }

    /// What there is of y where x is 0, at least nothing. Where x hardly varies, all of y is taken to grow with it.
    pub(super) fn start(&self) -> f64 {
        let [x, y, xx, xy] = [self.x, self.y, self.xx, self.xy].map(|mean| mean.value);
        if x <= 0.0 {
            return 0.0;
        }
        let (variance, covariance) = (xx - x * x, xy - x * y);
        let slope = (covariance + y / x) / (variance + 1.0);
        (y - slope * x).clamp(0.0, y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_exact_at_first_and_forgets_later() {
        let mut mean = Mean::<4>::default();
        assert_eq!(mean.get(), None);
        assert_eq!(mean.with_prior(0.7, 2.0), 0.7);
        (1..4).for_each(|value| mean.observe(f64::from(value)));
        assert_eq!(mean.get(), Some(2.0));
        assert_eq!(mean.with_prior(0.0, 3.0), 1.0);
        (0..40).for_each(|_| mean.observe(9.0));
        assert!((mean.get().unwrap_or(0.0) - 9.0).abs() < 0.01);
    }

    #[test]
    fn a_line_tells_what_grows_from_what_does_not() {
        let mut line = Line::<60>::default();
        assert_eq!(line.start(), 0.0);
        (0..20).for_each(|_| line.observe(4.0, 11.0));
        assert!(line.start() < 1e-9, "nothing tells them apart");
        for x in (1..13).cycle().take(240).map(f64::from) {
            line.observe(x, 3.0 + 2.0 * x);
        }
        assert!((line.start() - 3.0).abs() < 0.5, "{}", line.start());
    }

    #[test]
    fn a_rate_is_of_sums() {
        let mut rate = Rate::<100>::default();
        assert_eq!(rate.with_prior(3.0, 0.0), 3.0);
        rate.observe(9.0, 1.0);
        rate.observe(1.0, 1.0);
        let close = |a: f64, b: f64| (a - b).abs() < 0.05;
        assert!(close(rate.with_prior(0.0, 0.0), 5.0));
        assert!(close(rate.with_prior(1.0, 2.0), 3.0));
    }
}
