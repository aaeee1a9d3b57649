//! How long a text's first draft waits for levels that still read its prompt.
//!
//! The target could write its first token meanwhile, in a forward that nobody drafted for. To wait for longer than that
//! forward brings less than the going rate never pays; and not at all where levels are mostly later than that.

use std::time::Duration;

use super::mean::Mean;

/// Texts after which it is worth another try where waiting did not pay.
const AGAIN: u32 = 64;

/// What waiting has brought.
#[derive(Clone, Debug, Default)]
pub(super) struct Patience {
    /// Seconds waited.
    waits: Mean<32>,
    /// How often levels were ready then.
    read: Mean<32>,
    /// Texts that did not wait since the last that did.
    skipped: u32,
}

impl Patience {
    /// How long the next text should wait: a forward of the target alone takes `review` seconds, and texts are written at
    /// `rate` tokens a second.
    pub(super) fn next(&mut self, review: f64, rate: f64) -> Duration {
        let gain = (review - 1.0 / rate.max(f64::MIN_POSITIVE)).max(0.0);
        let pays = self.read.with_prior(1.0, 1.0) * gain > self.waits.with_prior(0.0, 1.0);
        if !pays && self.skipped < AGAIN {
            self.skipped += 1;
            return Duration::ZERO;
        }
        self.skipped = 0;
        Duration::try_from_secs_f64(gain).unwrap_or_default()
    }

    /// A text has waited; `read`: until its levels were ready.
    pub(super) fn waited(&mut self, took: Duration, read: bool) {
        self.waits.observe(took.as_secs_f64());
        self.read.observe(f64::from(u8::from(read)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of some texts wait for levels that take so many ms to read; forwards of the target take 30 ms.
    fn patient(reading: u64, rate: f64) -> usize {
        let mut patience = Patience::default();
        let text = |_: &usize| {
            let most = patience.next(0.030, rate);
            let took = Duration::from_millis(reading).min(most);
            if !most.is_zero() {
                patience.waited(took, took < most);
            }
            !most.is_zero()
        };
        (0..200).filter(text).count()
    }

    #[test]
    fn who_reads_soon_is_waited_for() {
        assert_eq!(patient(4, 200.0), 200);
        let late = patient(40, 200.0);
        assert!((2..10).contains(&late), "{late}");
    }

    #[test]
    fn nobody_waits_where_drafts_bring_nothing() {
        assert_eq!(patient(4, 1.0 / 0.030), 0);
    }
}
