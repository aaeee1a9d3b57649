//! How long to wait before a process is started again. Pure: the keeper does the waiting.

use std::time::Duration;

/// The first wait: a drafter that was killed is back before most requests end.
const FIRST: Duration = Duration::from_millis(100);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(10);
/// A process that lived this long had no trouble starting; its death is the first of a new series.
const STEADY: Duration = Duration::from_secs(30);

/// Doubling waits between the starts of one process.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after a process that ended at the age of `lived`.
    pub(crate) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= STEADY {
            self.failures = 0;
        }
        let wait = FIRST
            .saturating_mul(2u32.saturating_pow(self.failures))
            .min(LONGEST);
        self.failures += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..10)
            .map(|_| backoff.after(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(
            waits,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]
        );
        assert_eq!(
            (0..100).map(|_| backoff.after(Duration::ZERO)).max(),
            Some(LONGEST)
        );
    }

    #[test]
    fn a_steady_life_starts_a_new_series() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.after(Duration::ZERO);
        }
        assert_eq!(backoff.after(STEADY), FIRST);
    }
}
