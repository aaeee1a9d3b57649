//! Commands that wait for the engine's thread, a bounded number of them.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use csd_level::{Error, Result};

use super::command::Command;

/// A hint for callers that find the queue full.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// How long commands that there is no room for stay alone before they are offered again.
const PAUSE: Duration = Duration::from_millis(5);

/// A queue with one consumer.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Command>,
    /// Whether one has come since the last offer.
    fresh: bool,
    closed: bool,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            limit,
        }
    }

    /// Adds a command. Those that nobody wants any more make room first.
    pub(super) fn push(&self, command: Command) -> Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Unavailable("the engine has stopped".into()));
        }
        if state.waiting.len() >= self.limit {
            state.sweep();
        }
        if state.waiting.len() >= self.limit {
            return Err(Error::Busy {
                retry_after: RETRY_AFTER,
            });
        }
        state.waiting.push_back(command);
        state.fresh = true;
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Puts a command in front of all others: the next step of a call that was let in before.
    pub(super) fn push_front(&self, command: Command) {
        let mut state = self.lock();
        if !state.closed {
            state.waiting.push_front(command);
        }
    }

    /// Offers `take` the waiting commands that are still wanted, in order: it hands back those that it has no room for, which
    /// stay where they are. With `wait`, sleeps until there is a command at all, and a little if none was taken. False once
    /// the queue is closed.
    pub(super) fn drain(&self, wait: bool, take: impl FnMut(Command) -> Option<Command>) -> bool {
        let mut state = self.lock();
        while wait && state.waiting.is_empty() && !state.closed {
            state = self
                .arrived
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.sweep();
        state.fresh = false;
        let offered = std::mem::take(&mut state.waiting);
        let count = offered.len();
        state.waiting = offered.into_iter().filter_map(take).collect();
        if wait && !state.closed && state.waiting.len() == count {
            let timed = self.arrived.wait_timeout(state, PAUSE);
            state = timed.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.closed
    }

    /// Sleeps until a command has come that was not offered, at the latest until then.
    pub(super) fn wait(&self, until: Instant) {
        let state = self.lock();
        let left = until.saturating_duration_since(Instant::now());
        let idle = |state: &mut State| !state.fresh && !state.closed;
        let _ = self.arrived.wait_timeout_while(state, left, idle);
    }

    /// Whether commands are refused for good.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Refuses commands from now on and forgets those that wait, whose callers learn so.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.arrived.notify_one();
    }

    pub(super) fn len(&self) -> usize {
        let state = self.lock();
        let gone = |command: &&Command| command.is_cancelled();
        state.waiting.len() - state.waiting.iter().filter(gone).count()
    }

    /// No code that holds the lock can leave the queue half changed, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops the commands that nobody wants any more.
    fn sweep(&mut self) {
        let now = Instant::now();
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting = waiting
            .into_iter()
            .filter_map(|command| command.wanted(now))
            .collect();
    }
}
