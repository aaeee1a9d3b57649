//! Texts that come back: whether a forward had better wait for one that had a part in an earlier one.
//!
//! Texts that are written at the same time fall into turns: while the forward of some is computed, the others come back
//! and wait it out, and so on, although one forward would do for all: reading the weights once. A moment's wait brings them
//! together for good, where they come back soon enough.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How much of a forward's time may be waited for others after one. Where all come back in time, a wait and one forward do
/// what took two; where only some do, so much less may be risked.
const SHARE: f64 = 0.6;
/// What one more observation counts in a mean.
const WEIGHT: f64 = 0.2;
/// How many mean deviations later than usual a text is still waited for.
const LATE: f64 = 2.0;

/// After so long a text is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(2);

/// A text between two reviews.
#[derive(Clone, Copy, Debug)]
struct Text {
    answered: Instant,
    /// How it has come back; nothing of one that never did.
    away: Option<Away>,
}

/// How long a text stays away. One that waits for a draft now and then is late then, and no later the other times.
#[derive(Clone, Copy, Debug)]
struct Away {
    /// How often it comes back in time to be waited for, …
    in_time: f64,
    /// … and after how many seconds then, and by how much that varies.
    usual: Option<(f64, f64)>,
}

/// The texts that had a part in the last forwards.
#[derive(Debug, Default)]
pub(super) struct Company {
    texts: BTreeMap<u64, Text>,
    /// Seconds of a forward.
    forward: f64,
}

impl Company {
    /// A forward has taken so long.
    pub(super) fn forwarded(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        let weight = if self.forward > 0.0 { WEIGHT } else { 1.0 };
        self.forward += weight * (took - self.forward);
    }

    /// A text's review has been answered.
    pub(super) fn answered(&mut self, session: u64, now: Instant) {
        let away = self.texts.get(&session).and_then(|text| text.away);
        let answered = now;
        self.texts.insert(session, Text { answered, away });
    }

    /// A text came back then.
    pub(super) fn came(&mut self, session: u64, then: Instant) {
        let Some(text) = self.texts.get_mut(&session) else {
            return;
        };
        let took = then.saturating_duration_since(text.answered).as_secs_f64();
        let in_time = took <= SHARE * self.forward;
        let share = f64::from(u8::from(in_time));
        let away = text.away.get_or_insert(Away {
            in_time: share,
            usual: None,
        });
        away.in_time += WEIGHT * (share - away.in_time);
        if in_time {
            away.usual = Some(match away.usual {
                None => (took, took / 2.0),
                Some((mean, deviation)) => (
                    mean + WEIGHT * (took - mean),
                    deviation + WEIGHT * ((took - mean).abs() - deviation),
                ),
            });
        }
    }

    /// Until when a forward of these sessions should wait for another text, if it should; the last one ended then. Who is
    /// later than usual is not waited for: it has ended, or takes long over its draft.
    pub(super) fn wait(
        &mut self,
        sessions: &[u64],
        ended: Instant,
        now: Instant,
    ) -> Option<Instant> {
        let most = ended + Duration::try_from_secs_f64(self.forward * SHARE).ok()?;
        self.texts
            .retain(|_, text| now.saturating_duration_since(text.answered) < FORGOTTEN);
        let others = self.texts.iter();
        let others = others.filter(|(session, _)| !sessions.contains(session));
        let until = others.filter_map(|(_, text)| text.latest(self.forward));
        until.filter(|&until| now < until && until <= most).min()
    }
}

impl Text {
    /// From when on it is not expected any more; nothing where it comes back too seldom for so long a wait.
    fn latest(&self, forward: f64) -> Option<Instant> {
        let away = self.away?;
        let (mean, deviation) = away.usual?;
        let seconds = mean + LATE * deviation;
        let worth = seconds <= SHARE * forward * away.in_time;
        let seconds = Duration::try_from_secs_f64(seconds).ok()?;
        worth.then_some(self.answered + seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORWARD: Duration = Duration::from_millis(20);

    /// Two texts in turns: the first waits since a while when the second is answered, which comes back after so many ms in
    /// turns; how many ms later the forward should begin.
    fn wait(away: &[u64]) -> Option<u128> {
        let mut company = Company::default();
        let mut now = Instant::now();
        for &away in away.iter().cycle().take(30) {
            company.forwarded(FORWARD);
            company.answered(2, now);
            company.came(2, now + Duration::from_millis(away));
            now += 4 * FORWARD;
        }
        company.forwarded(FORWARD);
        company.answered(2, now);
        let until = company.wait(&[1], now, now)?;
        Some((until - now).as_millis())
    }

    #[test]
    fn who_comes_back_soon_is_waited_for() {
        assert!(wait(&[2]).is_some_and(|wait| (2..4).contains(&wait)));
        assert_eq!(wait(&[14]), None);
    }

    #[test]
    fn who_is_late_now_and_then_is_waited_for_as_long_as_else() {
        for late_at in 0..3 {
            let mut away = [2; 3];
            away[late_at] = 60;
            let wait = wait(&away);
            assert!(wait.is_some_and(|wait| (2..4).contains(&wait)), "{wait:?}");
        }
        assert_eq!(wait(&[6, 60, 60]), None, "seldom enough");
    }

    #[test]
    fn who_does_not_come_back_is_not_waited_for() {
        let mut company = Company::default();
        let now = Instant::now();
        company.forwarded(FORWARD);
        company.answered(2, now);
        assert_eq!(company.wait(&[1], now, now), None, "nobody knows it");
        company.came(2, now + Duration::from_millis(1));
        let later = now + FORWARD;
        company.forwarded(FORWARD);
        company.answered(2, later);
        assert!(company.wait(&[1], later, later).is_some());
        assert_eq!(company.wait(&[1], later, later + FORWARD), None);
        company.wait(&[1], later, later + FORGOTTEN);
        assert!(company.texts.is_empty());
    }
}
