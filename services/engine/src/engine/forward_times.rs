//! Emulated hardware: a forward is computed as fast as this machine can, and ends when the given time is over.

use std::{
    hint, io, thread,
    time::{Duration, Instant},
};

/// How long before its end a wait stops sleeping: the system wakes a thread some tens of microseconds late.
const AWAKE: Duration = Duration::from_micros(120);
/// The part of its time that a forward may end too late, one in so many.
const TOLERANCE: u32 = 50;

/// The real-time priority of a thread whose forwards take a microsecond, …
const URGENT: f64 = 90.0;
/// … and how much lower it is for those that take twice as long.
const LESS_URGENT: f64 = 5.0;

/// What forwards are to take by their rows, whatever they take here.
///
/// Between two points a time lies on the line between them; before the first it is that of the first; beyond the last it
/// goes on as between the last two. Two points one row apart are a step. The rows of all sequences in a forward count
/// together, those of a prompt's chunk like those of a review.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardTimes(Vec<(usize, Duration)>);

impl ForwardTimes {
    /// Times by rows, rows ascending; none without a point.
    pub fn new(points: &[(usize, Duration)]) -> Option<Self> {
        (!points.is_empty()).then(|| Self(points.to_vec()))
    }

    /// What a forward of so many rows takes.
    pub fn of(&self, rows: usize) -> Duration {
        let points = &self.0;
        let above = points.partition_point(|&(at, _)| at < rows);
        let (low, high) = match above {
            0 => (0, 0),
            above => {
                let high = above.min(points.len() - 1);
                (high.saturating_sub(1), high)
            }
        };
        let ((from, start), (to, end)) = (points[low], points[high]);
        if from == to {
            return start;
        }
        let part = (rows as f64 - from as f64) / (to as f64 - from as f64);
        let (start, end) = (start.as_secs_f64(), end.as_secs_f64());
        Duration::try_from_secs_f64(start + part * (end - start)).unwrap_or_default()
    }

    /// Has the system run this thread before any that need not keep time, and before those with more of it (rate-monotonic
    /// scheduling: Liu & Layland, *Scheduling algorithms for multiprogramming in a hard-real-time environment*, 1973).
    ///
    /// # Errors
    /// What the system says where it does not allow that, or cannot do it.
    pub(super) fn hurry(&self) -> io::Result<()> {
        let micros = (self.of(1).as_micros() as f64).max(1.0);
        csd_kernel::prioritise((URGENT - LESS_URGENT * micros.log2()).max(1.0) as u8)
    }

    /// Waits for the end of a forward of so many rows. False when that has passed already, or was slept through.
    pub(super) fn hold(&self, began: Instant, rows: usize) -> bool {
        let time = self.of(rows);
        let end = began + time;
        thread::sleep(end.saturating_duration_since(Instant::now() + AWAKE));
        while Instant::now() < end {
            hint::spin_loop();
        }
        end.elapsed() <= time / TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(points: &[(usize, u64)]) -> ForwardTimes {
        let points: Vec<_> = points
            .iter()
            .map(|&(rows, ms)| (rows, Duration::from_millis(ms)))
            .collect();
        ForwardTimes::new(&points).expect("points")
    }

    #[test]
    fn times_lie_on_lines_between_their_points() {
        let stairs = times(&[(2, 30), (9, 30), (10, 34), (14, 54)]);
        let expected = [
            (0, 30),
            (1, 30),
            (2, 30),
            (5, 30),
            (9, 30),
            (10, 34),
            (12, 44),
            (14, 54),
            (16, 64),
        ];
        for (rows, ms) in expected {
            assert_eq!(stairs.of(rows), Duration::from_millis(ms), "{rows} rows");
        }
        assert_eq!(times(&[(4, 7)]).of(100), Duration::from_millis(7));
        assert_eq!(times(&[(1, 7), (4, 7)]).of(100), Duration::from_millis(7));
        assert!(ForwardTimes::new(&[]).is_none());
    }

    #[test]
    fn a_forward_ends_in_its_time_and_not_before() {
        let times = times(&[(1, 4)]);
        let began = Instant::now();
        times.hold(began, 1);
        assert!(began.elapsed() >= Duration::from_millis(4));
        assert!(!times.hold(began - Duration::from_millis(5), 1), "late");
    }
}
