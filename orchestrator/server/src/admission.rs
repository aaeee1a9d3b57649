//! How many texts are written at once, and how many more may wait.
//!
//! Two bounded pools: every text needs a *place* when it arrives and, to be written, one of the fewer *turns*. Who finds
//! no place is refused at once; turns are given in order of arrival.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Failure, error::Result};

/// What a refused caller is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The door of the server.
#[derive(Clone, Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    running: usize,
    all: usize,
}

/// A place of one text; giving it up (dropping it) makes room for another.
#[derive(Debug)]
pub struct Place {
    turns: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
    turn: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// A door that lets `running` texts be written at once and `waiting` more wait.
    pub fn new(running: usize, waiting: usize) -> Self {
        let all = (running + waiting).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(all)),
            turns: Arc::new(Semaphore::new(running.min(all))),
            running,
            all,
        }
    }

    /// Places for `texts` texts, all or none.
    ///
    /// # Errors
    /// [`Failure::Busy`] when there are not enough left now, [`Failure::Invalid`] when there never can be.
    pub fn admit(&self, texts: usize) -> Result<Vec<Place>> {
        if texts > self.all {
            let reason = format!(
                "{texts} texts in one request are more than the {} that this server takes at once",
                self.all
            );
            return Err(Failure::invalid("n", reason));
        }
        let busy = |_| Failure::Busy {
            retry_after: RETRY_AFTER,
        };
        let places: Result<Vec<_>> = (0..texts)
            .map(|_| self.places.clone().try_acquire_owned().map_err(busy))
            .collect();
        let places = places?.into_iter().map(|place| Place {
            turns: self.turns.clone(),
            _place: place,
            turn: None,
        });
        Ok(places.collect())
    }

    /// The most texts that one request may ask for.
    pub fn most(&self) -> usize {
        self.all
    }

    /// Texts that are being written.
    pub fn running(&self) -> usize {
        self.running.min(self.all) - self.turns.available_permits()
    }

    /// Texts that wait for their turn.
    pub fn waiting(&self) -> usize {
        (self.all - self.places.available_permits()).saturating_sub(self.running())
    }
}

impl Place {
    /// Waits for the turn of this text; once it has come, returns at once.
    ///
    /// # Errors
    /// [`Failure::Internal`] if the door has been torn down, which nothing does.
    pub async fn turn(&mut self) -> Result<()> {
        if self.turn.is_none() {
            let turn = self.turns.clone().acquire_owned().await;
            self.turn = Some(turn.map_err(|error| Failure::Internal(error.to_string()))?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn texts_run_wait_and_are_refused_in_that_order() {
        let door = Admission::new(1, 1);
        let mut first = door.admit(1).expect("a place").remove(0);
        let mut second = door.admit(1).expect("a place").remove(0);
        assert!(matches!(door.admit(1), Err(Failure::Busy { .. })));
        assert!(first.turn().now_or_never().is_some());
        assert!(second.turn().now_or_never().is_none(), "only one runs");
        assert_eq!((door.running(), door.waiting()), (1, 1));
        drop(first);
        assert!(second.turn().now_or_never().is_some());
        drop(second);
        assert_eq!((door.running(), door.waiting()), (0, 0));
    }

    #[test]
    fn a_request_gets_all_its_places_or_none() {
        let door = Admission::new(2, 1);
        let held = door.admit(2).expect("two");
        assert!(matches!(door.admit(2), Err(Failure::Busy { .. })));
        assert!(door.admit(1).is_ok(), "the refused request kept nothing");
        drop(held);
        assert!(matches!(door.admit(4), Err(Failure::Invalid { .. })));
    }
}
