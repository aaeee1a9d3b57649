//! Hardware that a level pretends to run on, so that the regimes of large models and of a network can be measured with
//! real tokens on a small machine.

use std::{fmt, time::Duration};

/// The longest time that can be given, in milliseconds.
const LONGEST_MS: f64 = 60_000.0;

/// How long the calls of a level take on the hardware that it pretends to run on.
#[derive(Clone, Debug, PartialEq)]
pub struct Emulation {
    forward: Vec<(usize, Duration)>,
    round_trip: Duration,
}

/// A part of an emulation that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible {
    /// `forward_ms` or `round_trip_ms`.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl Emulation {
    /// Forwards that take `forward_ms`, pairs of rows and milliseconds, and a link that adds `round_trip_ms` to each call.
    ///
    /// # Errors
    /// [`Impossible`] for a time that is no time, rows that do not ascend from at least 1, or times that descend.
    pub fn new(forward_ms: &[(usize, f64)], round_trip_ms: f64) -> Result<Self, Impossible> {
        let mut forward: Vec<(usize, Duration)> = Vec::with_capacity(forward_ms.len());
        for &(rows, ms) in forward_ms {
            let took = time("forward_ms", ms)?;
            let (before, least) = forward.last().copied().unwrap_or_default();
            if rows <= before || took < least {
                let reason =
                    format!("[{rows}, {ms}]: rows must ascend from 1, and times must not descend");
                return Err(Impossible {
                    field: "forward_ms",
                    reason,
                });
            }
            forward.push((rows, took));
        }
        Ok(Self {
            forward,
            round_trip: time("round_trip_ms", round_trip_ms)?,
        })
    }

    /// The same over another link.
    ///
    /// # Errors
    /// [`Impossible`] for a time that is no time.
    pub fn with_round_trip(self, round_trip_ms: f64) -> Result<Self, Impossible> {
        let round_trip = time("round_trip_ms", round_trip_ms)?;
        Ok(Self { round_trip, ..self })
    }

    /// Points of the time that a forward takes by its rows, rows ascending; none where it takes as long as it takes.
    pub fn forward(&self) -> &[(usize, Duration)] {
        &self.forward
    }

    /// What is added to the round trip of each call.
    pub fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Whether nothing is pretended.
    pub fn is_nothing(&self) -> bool {
        self.forward.is_empty() && self.round_trip.is_zero()
    }
}

fn time(field: &'static str, ms: f64) -> Result<Duration, Impossible> {
    if (0.0..=LONGEST_MS).contains(&ms) {
        return Ok(Duration::from_secs_f64(ms / 1e3));
    }
    let reason = format!("{ms}: must be a time from 0 to {LONGEST_MS} milliseconds");
    Err(Impossible { field, reason })
}

impl fmt::Display for Emulation {
    /// `forward 30 ms at 1 row, 40 ms at 128 rows; round trip +3 ms`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let mut before = "forward";
        for &(rows, time) in &self.forward {
            let plural = if rows == 1 { "" } else { "s" };
            write!(formatter, "{before} {} ms at {rows} row{plural}", ms(time))?;
            before = ",";
        }
        if self.round_trip.is_zero() {
            return Ok(());
        }
        let before = if self.forward.is_empty() { "" } else { "; " };
        write!(formatter, "{before}round trip +{} ms", ms(self.round_trip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_as_it_was_given() {
        let told = |forward: &[_], link| Emulation::new(forward, link).map(|it| it.to_string());
        let forward = [(1, 30.0), (17, 34.5)];
        assert_eq!(
            told(&forward, 0.3).expect("possible"),
            "forward 30 ms at 1 row, 34.5 ms at 17 rows; round trip +0.3 ms"
        );
        assert_eq!(told(&[], 3.0).expect("possible"), "round trip +3 ms");
        assert!(Emulation::new(&[], 0.0).expect("possible").is_nothing());
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let refused = |forward: &[_], link| {
            let error = Emulation::new(forward, link).expect_err("impossible");
            error.field
        };
        for forward in [
            vec![(0, 1.0)],
            vec![(2, 1.0), (2, 1.0)],
            vec![(1, 2.0), (2, 1.0)],
            vec![(1, -1.0)],
            vec![(1, f64::NAN)],
        ] {
            assert_eq!(refused(&forward, 0.0), "forward_ms", "{forward:?}");
        }
        for link in [-1.0, f64::INFINITY, 1e9] {
            assert_eq!(refused(&[], link), "round_trip_ms", "{link}");
        }
    }
}
