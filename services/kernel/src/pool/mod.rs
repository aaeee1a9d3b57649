//! Threads for one model: helpers spin for some microseconds after each job, then park.
//!
//! A forward is hundreds of jobs of some ten to some hundred microseconds, one after the other: between two
//! jobs a helper spins, so that a job starts without a system call; between two forwards it parks, so that an
//! idle worker leaves the cores to its neighbours. The caller works too and never waits for a helper that has
//! not begun: a job is done when all of it is, whoever took which range.

#![expect(
    unsafe_code,
    reason = "a job's closure is borrowed by other threads for exactly the length of `run`"
)]

mod scatter;

use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;

pub(crate) use self::scatter::Scatter;

/// Turns of `spin_loop` that a helper waits for the next job before it parks: about 30 microseconds.
const SPINS_BEFORE_PARK: u32 = 1_000;
/// Turns of `spin_loop` that a caller waits for the helpers' last ranges before it yields its core.
const SPINS_BEFORE_YIELD: u32 = 2_000;

/// The low half of `Shared::state` counts helpers inside the job; the rest is flags and the job's number.
const INSIDE: u64 = 0xffff;
const OPEN: u64 = 1 << 16;
const STOP: u64 = 1 << 17;
const NUMBER: u64 = 1 << 18;

/// A fixed number of threads, the caller's own included.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    /// Held while a job runs: a second caller finds it taken and works alone.
    running: Mutex<()>,
}

impl Pool {
    /// A pool of `threads` (at least one): the caller and `threads - 1` helpers, which start parked.
    ///
    /// Where the system refuses a thread, the pool is smaller: see [`Pool::threads`].
    pub fn new(threads: usize) -> Self {
        let wanted = threads.clamp(1, INSIDE as usize) - 1;
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            parked: (0..wanted).map(|_| AtomicBool::new(false)).collect(),
            panic: Mutex::default(),
        });
        let spawn = |index: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("csd-kernel-{index}"))
                .spawn(move || shared.help(index))
        };
        let helpers = (0..wanted).map_while(|index| spawn(index).ok()).collect();
        Self {
            shared,
            helpers,
            running: Mutex::new(()),
        }
    }

    /// How many threads work on a job.
    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Calls `work` with ranges that together cover `0..len` once, on all threads, and returns when all are done.
    ///
    /// A range is a part of what is left, so that neighbours mostly stay with one thread (and its prefetches are
    /// not in vain), and the last ranges are short (at least `least`), so that all threads end together. One
    /// thread, or a pool that is already at work (a nested or a second caller): the caller does everything
    /// itself.
    pub fn run(&self, len: usize, least: usize, work: impl Fn(Range<usize>) + Sync) {
        let least = least.max(1);
        let lock = if len > least && !self.helpers.is_empty() {
            self.lock()
        } else {
            None
        };
        match lock {
            Some(_guard) => self.run_together(len, least, &work),
            None if len > 0 => work(0..len),
            None => {}
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, ()>> {
        match self.running.try_lock() {
            Ok(guard) => Some(guard),
            // A panic in a range left nothing half done: `Closing` has emptied the job.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn run_together(&self, len: usize, least: usize, work: &Work<'_>) {
        let shared = &*self.shared;
        // SAFETY: only the lifetime is erased. `Closing` below is dropped before `work` goes out of scope, by
        // return or by unwinding, and it waits until no helper is inside the job.
        let work: *const Work<'static> =
            unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        let job = Job {
            len,
            least,
            share: 2 * self.threads(),
            work,
        };
        // SAFETY: no helper reads the job while it is not open, and this caller holds the `running` lock.
        unsafe { *shared.job.get() = Some(job) };
        shared.next.store(0, Ordering::Relaxed);
        let number = shared.state.load(Ordering::Relaxed) & !(NUMBER - 1);
        shared
            .state
            .store(number.wrapping_add(NUMBER) | OPEN, Ordering::SeqCst);
        for (helper, parked) in self
            .helpers
            .iter()
            .zip(&shared.parked)
            .take(len.div_ceil(least) - 1)
        {
            if parked.swap(false, Ordering::SeqCst) {
                helper.thread().unpark();
            }
        }
        let closing = Closing(shared);
        shared.take_ranges(job);
        drop(closing);
        // Without that helper's ranges the job is not done.
        if let Some(panic) = shared.panic().take() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state.fetch_or(STOP, Ordering::SeqCst);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            // A helper catches its job's panics, so there is nothing to learn from the result.
            let _ = helper.join();
        }
    }
}

type Work<'a> = dyn Fn(Range<usize>) + Sync + 'a;

#[derive(Clone, Copy)]
struct Job {
    len: usize,
    least: usize,
    /// A range is this part of what is left.
    share: usize,
    work: *const Work<'static>,
}

struct Shared {
    state: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    next: AtomicUsize,
    parked: Vec<AtomicBool>,
    /// What a helper panicked with inside the job.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is written only by the caller that holds `Pool::running`, while the job is closed and no helper
// is inside; helpers read it only between entering (which needs the open job) and leaving.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer inside is used only while the caller keeps what it points to.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Shared")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn panic(&self) -> MutexGuard<'_, Option<Box<dyn Any + Send>>> {
        self.panic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A helper's life.
    fn help(&self, index: usize) {
        let mut done = 0;
        while let Some(number) = self.next_job(index, done) {
            done = number;
            // SAFETY: entered in `next_job`: the caller waits for us before it touches the job again.
            let job = unsafe { *self.job.get() };
            let finished = catch_unwind(AssertUnwindSafe(|| {
                job.map_or((), |job| self.take_ranges(job))
            }));
            if let Err(panic) = finished {
                *self.panic() = Some(panic);
                self.next.store(usize::MAX, Ordering::Relaxed);
            }
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for a job other than number `done` and enters it; `None` when the pool is dropped.
    fn next_job(&self, index: usize, done: u64) -> Option<u64> {
        let mut spins = 0;
        loop {
            let state = self.state.load(Ordering::Acquire);
            if state & STOP != 0 {
                return None;
            }
            let number = state & !(NUMBER - 1);
            if state & OPEN != 0 && number != done {
                let entered = self.state.compare_exchange_weak(
                    state,
                    state + 1,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                );
                if entered.is_ok() {
                    return Some(number);
                }
                continue;
            }
            if spins < SPINS_BEFORE_PARK {
                spins += 1;
                std::hint::spin_loop();
                continue;
            }
            // Say "parked", then look once more: the caller publishes, then looks for "parked".
            self.parked[index].store(true, Ordering::SeqCst);
            let state = self.state.load(Ordering::SeqCst);
            let idle = state & STOP == 0 && (state & OPEN == 0 || state & !(NUMBER - 1) == done);
            while idle
                && self.parked[index].load(Ordering::SeqCst)
                && self.state.load(Ordering::SeqCst) & STOP == 0
            {
                std::thread::park();
            }
            self.parked[index].store(false, Ordering::SeqCst);
            spins = 0;
        }
    }

    fn take_ranges(&self, job: Job) {
        // SAFETY: the closure outlives the job: see `run_together`.
        let work = unsafe { &*job.work };
        let after = |start: usize| {
            start
                + ((job.len - start) / job.share)
                    .max(job.least)
                    .min(job.len - start)
        };
        let mut start = self.next.load(Ordering::Relaxed);
        while start < job.len {
            let end = after(start);
            match self
                .next
                .compare_exchange_weak(start, end, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => {
                    work(start..end);
                    start = self.next.load(Ordering::Relaxed);
                }
                Err(taken) => start = taken,
            }
        }
    }
}

/// Closes the job and waits for the helpers inside it, also when the caller's own range unwinds.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.next.store(usize::MAX, Ordering::Relaxed);
        }
        self.0.state.fetch_and(!OPEN, Ordering::SeqCst);
        let mut spins = 0;
        while self.0.state.load(Ordering::Acquire) & INSIDE != 0 {
            if spins < SPINS_BEFORE_YIELD {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_in_one_range_whatever_the_threads() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads);
            for (len, least) in [
                (0, 1),
                (1, 1),
                (2, 1),
                (3, 2),
                (100, 1),
                (100, 7),
                (1000, 3),
            ] {
                let counts: Vec<AtomicUsize> = (0..len).map(|_| AtomicUsize::new(0)).collect();
                pool.run(len, least, |range| {
                    assert!(range.len() >= least || range.end == len);
                    for count in &counts[range] {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
                assert!(
                    counts
                        .iter()
                        .all(|count| count.load(Ordering::Relaxed) == 1)
                );
            }
        }
    }

    #[test]
    fn thousands_of_jobs_with_pauses_lose_no_wake_up() {
        let pool = Pool::new(3);
        let sum = AtomicUsize::new(0);
        for job in 0..4_000 {
            if job % 1_000 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            pool.run(4, 1, |range| {
                sum.fetch_add(range.sum(), Ordering::Relaxed);
            });
        }
        assert_eq!(sum.load(Ordering::Relaxed), 4_000 * 6);
    }

    #[test]
    fn a_nested_job_runs_on_its_caller() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        pool.run(4, 1, |outer| {
            for _ in outer {
                pool.run(4, 1, |inner| {
                    sum.fetch_add(inner.sum(), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(sum.load(Ordering::Relaxed), 4 * 6);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_works_on() {
        let pool = Pool::new(2);
        let panicking = || pool.run(64, 1, |range| assert!(!range.contains(&40)));
        assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
        let sum = AtomicUsize::new(0);
        pool.run(8, 1, |range| {
            sum.fetch_add(range.sum(), Ordering::Relaxed);
        });
        assert_eq!(sum.load(Ordering::Relaxed), 28);
    }

    #[test]
    fn a_helpers_panic_reaches_the_caller_as_it_is() {
        let pool = Pool::new(2);
        let caller = std::thread::current().id();
        // Neither thread ends before both have a range, and the helper does not end its own.
        let both = std::sync::Barrier::new(2);
        let panicking = || {
            pool.run(2, 1, |_| {
                both.wait();
                assert!(std::thread::current().id() == caller, "the helper's");
            });
        };
        let panic = catch_unwind(AssertUnwindSafe(panicking)).expect_err("a panic");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"the helper's"));
    }
}
