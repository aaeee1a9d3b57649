//! Who may ask the process to end.

use std::{
    io::{self, Read},
    thread,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::Error;

/// Waits for SIGTERM or SIGINT, or with `with_parent` for the end of standard input; answers which it was.
///
/// # Errors
/// [`Error::System`] when the system lets us watch for none of them.
pub fn requested(with_parent: bool) -> Result<impl Future<Output = &'static str>, Error> {
    let catch = |kind| {
        signal(kind).map_err(|source| Error::System {
            what: "a signal handler",
            source,
        })
    };
    let mut terminate = catch(SignalKind::terminate())?;
    let mut interrupt = catch(SignalKind::interrupt())?;
    let parent = with_parent.then(parent_gone).transpose()?;
    Ok(async move {
        let parent = async {
            match parent {
                // Either way the thread has ended, and it only ends with the input.
                Some(gone) => drop(gone.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = parent => "the parent process is gone",
        }
    })
}

/// Reads standard input to its end.
///
/// A thread of its own: the runtime would wait for a blocked read before it lets the process exit. And no
/// `PR_SET_PDEATHSIG`: a pipe closes on every system, and when the parent's thread ends but not the parent, it stays.
fn parent_gone() -> Result<oneshot::Receiver<()>, Error> {
    let (tell, told) = oneshot::channel();
    let watch = move || {
        let mut input = io::stdin().lock();
        let mut ignored = [0; 256];
        loop {
            match input.read(&mut ignored) {
                Ok(0) => break,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        // Nobody waits for it when the process is ending already.
        let _ = tell.send(());
    };
    thread::Builder::new()
        .name("csd-parent".into())
        .spawn(watch)
        .map_err(|source| Error::System {
            what: "a thread",
            source,
        })?;
    Ok(told)
}
