//! Watches over the levels: finds their replicas, lets in those that are healthy again, puts aside those that are gone.
//!
//! The cascade closes a level's gate when a call fails, and its seat puts the replica aside that failed it. Here a replica
//! that is aside is knocked at until somebody fitting answers; one in use is asked for a sign of life now and then, so that
//! one which died while nobody needed it is known to be down. The gate of a level is open while any of its replicas is up.

use std::{sync::Arc, time::Duration};

use csd_cascade::Gate;
use csd_level::Error;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    Orchestrator,
    replica::{Replica, told},
    seat::Seat,
    watch::Standing,
};

/// Between two knocks at a replica that is aside.
const KNOCK: Duration = Duration::from_millis(250);

/// The longest pause before a replica that keeps failing is tried again.
const LONGEST: Duration = Duration::from_secs(8);

/// A replica that fails within this time after it was let in makes the next pause longer.
const PROBATION: Duration = Duration::from_secs(5);

/// Between two signs of life of a replica in use.
const PULSE: Duration = Duration::from_secs(1);

/// Between two looks at what the names of a level stand for.
const LOOK: Duration = Duration::from_secs(3);

/// Watches over all levels until dropped.
pub(crate) fn watch(orchestrator: &Arc<Orchestrator>, seats: Vec<Arc<Seat>>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (index, seat) in seats.into_iter().enumerate() {
        let level = Level {
            gate: orchestrator.cascade().gates()[index].clone(),
            orchestrator: orchestrator.clone(),
            index,
            seat,
        };
        level.report();
        tasks.spawn(level.run());
    }
    tasks
}

/// A level that is watched over.
#[derive(Clone)]
struct Level {
    orchestrator: Arc<Orchestrator>,
    gate: Arc<Gate>,
    index: usize,
    seat: Arc<Seat>,
}

impl Level {
    /// Has every replica watched over, as they come and go.
    async fn run(self) {
        let mut probers = JoinSet::new();
        let mut found = self.seat.replicas();
        loop {
            for replica in found {
                let prober = Prober {
                    level: self.clone(),
                    replica,
                    pause: KNOCK,
                    begun: None,
                };
                probers.spawn(prober.run());
            }
            sleep(LOOK).await;
            while probers.try_join_next().is_some() {}
            let places = self.seat.whereabouts().resolve().await;
            found = self.seat.place(&places);
        }
    }

    /// Opens or closes the gate as the replicas are, and lets those who ask know.
    fn report(&self) {
        let up = self.seat.is_up();
        let watch = self.orchestrator.watch();
        let standing = |replica: Arc<Replica>| Standing {
            address: replica.address().to_string(),
            trouble: replica.trouble(),
        };
        let replicas = self.seat.replicas();
        watch.see(self.index, replicas.into_iter().map(standing).collect());
        let trouble = (!up).then(|| self.seat.trouble());
        let news = watch.note(self.index, trouble.clone());
        if !up {
            self.gate.close();
        } else if self.gate.open() {
            tracing::info!(level = self.seat.name(), "a level is in use again");
        }
        if let Some(reason) = trouble.filter(|_| news) {
            tracing::warn!(level = self.seat.name(), reason, "a level is down");
        }
    }
}

/// A replica that is watched over.
struct Prober {
    level: Level,
    replica: Arc<Replica>,
    /// Before the next knock.
    pause: Duration,
    /// When it was last let in here.
    begun: Option<Instant>,
}

impl Prober {
    async fn run(mut self) {
        let mut pulse = Instant::now();
        loop {
            if self.replica.is_retired() && self.level.seat.forget(&self.replica) {
                return self.level.report();
            }
            if self.replica.level().is_none() {
                self.reopen().await;
                continue;
            }
            // It may be the gate alone that was closed: for a call that took too long, say.
            if !self.level.gate.is_open() {
                self.level.report();
            }
            if self.begun.is_some_and(|begun| begun.elapsed() > PROBATION) {
                (self.pause, self.begun) = (KNOCK, None);
            }
            sleep(KNOCK).await;
            if pulse.elapsed() >= PULSE {
                self.feel().await;
                pulse = Instant::now();
            }
        }
    }

    /// A worker that is busy may be slow to answer; only one that is gone, or is another now, is put aside here.
    async fn feel(&mut self) {
        let Some(level) = self.replica.level() else {
            return;
        };
        let reason = match level.probe().await {
            Ok(found) => self.level.seat.fits(&found).err(),
            Err(error @ Error::Unavailable(_)) => Some(told(&error)),
            Err(_) => None,
        };
        if let Some(reason) = reason
            && self.replica.fail(&level, reason)
        {
            self.level.report();
        }
    }

    async fn reopen(&mut self) {
        self.level.report();
        if self.begun.take().is_some() {
            self.pause = (self.pause * 2).min(LONGEST);
        }
        sleep(self.pause).await;
        let (seat, replica) = (&self.level.seat, &self.replica);
        let outcome = match seat.whereabouts().meet(replica.address()).await {
            Ok(level) => seat.admit(replica, level),
            Err(error) => Err(told(&error)),
        };
        let address = replica.address();
        match outcome {
            Ok(()) => {
                self.begun = Some(Instant::now());
                tracing::info!(level = seat.name(), %address, "a replica is in use");
                self.level.report();
            }
            Err(reason) if replica.lower(reason.clone()) => {
                tracing::info!(level = seat.name(), %address, reason, "a replica cannot be used");
            }
            Err(_) => {}
        }
    }
}
