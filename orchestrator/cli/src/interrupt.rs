//! Being asked to stop: Ctrl-C, or SIGTERM from whoever started us.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A command that was interrupted ends with this error; `main` says nothing and exits as a shell expects.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// The signals that ask to stop. They are caught from the moment it exists.
#[derive(Debug)]
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// Catches the signals.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of them. Safe to drop.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
