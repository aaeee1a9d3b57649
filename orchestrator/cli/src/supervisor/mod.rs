//! Keeps a process for every level: starts it, starts it again when it dies, and ends it.
//!
//! [`process`] is one life of one worker, [`backoff`] the waits between two. A level that died comes back at the
//! address it had, so whoever talks to it only has to reconnect.

mod backoff;
mod process;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};

use self::backoff::Backoff;
use self::process::Process;
pub(crate) use self::process::{Announcement, Spec};

/// A free port, for this machine alone.
const ANY_PORT: &str = "127.0.0.1:0";

/// What happened to a level.
#[derive(Debug)]
pub(crate) enum Event {
    /// It answers calls: for the first time, or again.
    Ready(Announcement),
    /// It could not start, or died.
    Lost {
        /// Its name.
        level: String,
        /// How, in the worker's own words where it had some.
        reason: String,
        /// When it will be started again.
        retry: Duration,
    },
}

/// The processes of all levels. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Supervisor {
    events: mpsc::UnboundedReceiver<Event>,
    stop: watch::Sender<Option<Duration>>,
    keepers: JoinSet<()>,
}

impl Supervisor {
    /// Starts all levels at once.
    pub(crate) fn start(specs: Vec<Spec>) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(None);
        let mut keepers = JoinSet::new();
        for spec in specs {
            keepers.spawn(keep(spec, sender.clone(), stopped.clone()));
        }
        Self {
            events,
            stop,
            keepers,
        }
    }

    /// The next event; never, when there are no levels. Safe to drop.
    pub(crate) async fn event(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Ends all processes at once; those that are still there after `grace` are killed.
    pub(crate) async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(Some(grace));
        while self.keepers.join_next().await.is_some() {}
    }
}

/// The life of a level.
async fn keep(
    spec: Spec,
    events: mpsc::UnboundedSender<Event>,
    mut stop: watch::Receiver<Option<Duration>>,
) {
    let mut address = ANY_PORT.to_owned();
    let mut backoff = Backoff::default();
    loop {
        let born = Instant::now();
        let reason = match Process::start(&spec, &address) {
            Err(error) => format!("cannot run {}: {error}", spec.program.display()),
            Ok(mut process) => {
                tokio::select! {
                    reason = live(&mut process, &mut address, &events) => reason,
                    grace = stopped(&mut stop) => return process.stop(grace).await,
                }
            }
        };
        let retry = backoff.after(born.elapsed());
        let level = spec.level.clone();
        // Nobody listens any more once the supervisor is being stopped.
        let _ = events.send(Event::Lost {
            level,
            reason,
            retry,
        });
        tokio::select! {
            () = sleep(retry) => {}
            _ = stopped(&mut stop) => return,
        }
    }
}

/// One life of a level: answers how it ended.
async fn live(
    process: &mut Process,
    address: &mut String,
    events: &mpsc::UnboundedSender<Event>,
) -> String {
    match process.announced().await {
        Err(reason) => reason,
        Ok(announcement) => {
            address.clone_from(&announcement.address);
            if let Some((_, host_and_port)) = announcement.address.split_once("://") {
                *address = host_and_port.to_owned();
            }
            let _ = events.send(Event::Ready(announcement));
            process.ended().await
        }
    }
}

/// Waits for the order to stop; the grace comes with it.
async fn stopped(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stop.wait_for(Option::is_some).await {
        Ok(grace) => grace.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    }
}
