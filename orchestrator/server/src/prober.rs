//! Watches over the levels: opens the gates of those that are healthy again, closes the gates of those that are gone.
//!
//! The cascade closes a gate when a call fails. Here a closed gate is knocked at until somebody fitting answers; an open
//! one is asked for a sign of life now and then, so that a level which died while nobody needed it is known to be down.

use std::{sync::Arc, time::Duration};

use csd_cascade::Gate;
use csd_level::{Description, Error, Level as _};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{Orchestrator, levels::fits, seat::Seat};

/// Between two knocks at a closed gate.
const KNOCK: Duration = Duration::from_millis(250);

/// The longest pause before a level that keeps failing is tried again.
const LONGEST: Duration = Duration::from_secs(8);

/// A level that fails within this time after its gate was opened makes the next pause longer.
const PROBATION: Duration = Duration::from_secs(5);

/// Between two signs of life of a level whose gate is open.
const PULSE: Duration = Duration::from_secs(1);

/// Watches over all levels until dropped.
pub(crate) fn watch(orchestrator: &Arc<Orchestrator>, seats: Vec<Arc<Seat>>) -> JoinSet<()> {
    let target = seats.first().map(|seat| seat.description());
    let mut tasks = JoinSet::new();
    for (index, seat) in seats.into_iter().enumerate() {
        let Some(target) = target.clone() else { break };
        let prober = Prober {
            orchestrator: orchestrator.clone(),
            gate: orchestrator.cascade().gates()[index].clone(),
            index,
            seat,
            target,
            pause: KNOCK,
            opened: None,
        };
        tasks.spawn(prober.run());
    }
    tasks
}

struct Prober {
    orchestrator: Arc<Orchestrator>,
    gate: Arc<Gate>,
    index: usize,
    seat: Arc<Seat>,
    /// What the target was at start.
    target: Arc<Description>,
    /// Before the next knock.
    pause: Duration,
    /// When the gate was last opened here.
    opened: Option<Instant>,
}

impl Prober {
    async fn run(mut self) {
        let mut pulse = Instant::now();
        loop {
            if !self.gate.is_open() {
                self.reopen().await;
                continue;
            }
            if self
                .opened
                .is_some_and(|opened| opened.elapsed() > PROBATION)
            {
                (self.pause, self.opened) = (KNOCK, None);
            }
            sleep(KNOCK).await;
            if self.gate.is_open() && pulse.elapsed() >= PULSE {
                self.feel().await;
                pulse = Instant::now();
            }
        }
    }

    /// A level that is busy may be slow to answer; only one that is gone loses its gate here.
    async fn feel(&mut self) {
        if let Err(error @ Error::Unavailable(_)) = self.seat.probe().await {
            self.gate.close();
            self.trouble(error.to_string());
        }
    }

    async fn reopen(&mut self) {
        if self.opened.take().is_some() {
            self.pause = (self.pause * 2).min(LONGEST);
        }
        sleep(self.pause).await;
        let level = match self.seat.meet().await {
            Ok(level) => level,
            Err(error) => return self.trouble(error.to_string()),
        };
        if let Err(reason) = fits(&self.target, self.index, &level.description()) {
            return self.trouble(reason);
        }
        self.seat.settle(level);
        self.orchestrator.watch().note(self.index, None);
        self.opened = Some(Instant::now());
        self.gate.open();
        tracing::info!(level = %self.seat.name(), "a level is in use again");
    }

    fn trouble(&self, reason: String) {
        if self
            .orchestrator
            .watch()
            .note(self.index, Some(reason.clone()))
        {
            tracing::warn!(level = %self.seat.name(), address = %self.seat.address(), reason, "a level is down");
        }
    }
}
