//! Workers inside the test's own process.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::{path::PathBuf, time::Duration};

use csd_transport::{RemoteLevel, RemoteOptions};
use csd_worker::{Announcement, Args, Error, Settings, serve};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// `--level NAME` of the bundled cascade, which is found from the crate's own folder.
pub fn args(level: &str) -> Args {
    Args {
        level: level.into(),
        ..Args::default()
    }
}

/// The root of the project.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A worker that serves.
pub struct Worker {
    pub announced: Announcement,
    pub stop: CancellationToken,
    running: JoinHandle<Result<(), Error>>,
}

impl Worker {
    /// Starts a worker and waits until it answers calls.
    pub async fn start(args: &Args) -> Self {
        let settings = Settings::resolve(args).expect("settings of a bundled level");
        let (tell, told) = oneshot::channel();
        let announce = move |announcement: &Announcement| {
            tell.send(announcement.clone()).expect("the test waits");
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(serve(settings, announce, stop.clone().cancelled_owned()));
        let announced = timeout(Duration::from_secs(60), told)
            .await
            .expect("in time");
        Self {
            announced: announced.expect("it serves"),
            stop,
            running,
        }
    }

    /// The level it serves. Announced means answering, so there is no second attempt.
    pub async fn remote(&self) -> RemoteLevel {
        let address = &self.announced.address;
        RemoteLevel::connect(address, RemoteOptions::default())
            .await
            .expect("it answers")
    }

    /// Asks it to end, and sees that it does.
    pub async fn ends(self) {
        self.stop.cancel();
        let ended = timeout(Duration::from_secs(8), self.running).await;
        ended
            .expect("in time")
            .expect("no panic")
            .expect("no error");
        // Its port is free again, so nobody answers there.
        sleep(Duration::from_millis(10)).await;
        let address = &self.announced.address;
        assert!(
            RemoteLevel::connect(address, RemoteOptions::default())
                .await
                .is_err()
        );
    }
}
