//! One worker of a level, by its address.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use csd_level::Error;
use csd_transport::{Address, RemoteLevel};

/// Why a worker cannot be used, from what it answered last.
pub(crate) fn told(error: &Error) -> String {
    match error {
        Error::Unavailable(reason) | Error::Unsupported(reason) => reason.clone(),
        error => error.to_string(),
    }
}

/// A place where a level's worker may be; whether it is there, and if not, why.
#[derive(Debug)]
pub struct Replica {
    address: Address,
    state: RwLock<State>,
    retired: AtomicBool,
}

#[derive(Clone, Debug)]
enum State {
    Up(Arc<RemoteLevel>),
    Down(String),
}

impl Replica {
    /// A place where nobody has answered yet.
    pub(crate) fn new(address: Address) -> Self {
        let reason = format!("nobody has answered at {address} yet");
        Self {
            address,
            state: RwLock::new(State::Down(reason)),
            retired: AtomicBool::new(false),
        }
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The worker, if it can be used.
    pub fn level(&self) -> Option<Arc<RemoteLevel>> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Up(level) => Some(level.clone()),
            State::Down(_) => None,
        }
    }

    /// Why it cannot be used, if it cannot.
    pub fn trouble(&self) -> Option<String> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Up(_) => None,
            State::Down(reason) => Some(reason.clone()),
        }
    }

    /// Its worker is there and fits.
    pub(crate) fn raise(&self, level: RemoteLevel) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Up(Arc::new(level));
    }

    /// Nobody usable is there, for this reason. Returns whether that is news.
    pub(crate) fn lower(&self, reason: String) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let known = matches!(&*state, State::Down(known) if *known == reason);
        *state = State::Down(reason);
        !known
    }

    /// The worker failed. Returns whether it was still in use: one that has come back since is not to blame.
    pub(crate) fn fail(&self, level: &Arc<RemoteLevel>, reason: String) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let current = matches!(&*state, State::Up(current) if Arc::ptr_eq(current, level));
        if current {
            *state = State::Down(reason);
        }
        current
    }

    /// Whether its address still belongs to the level.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    pub(crate) fn retire(&self, retired: bool) {
        self.retired.store(retired, Relaxed);
    }

    /// How much a session wants to be here rather than elsewhere (rendezvous hashing): whichever replicas come or go, a
    /// session whose own stays goes on there, and finds its caches.
    pub(crate) fn weight(&self, session: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (session, self.address.uri()).hash(&mut hasher);
        hasher.finish()
    }
}
