//! Why a worker does not start, or does not go on.

use std::{io, net::SocketAddr, path::PathBuf};

/// A failure of the worker as a whole. Failed calls are answered, and end nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cascade file.
    #[error(transparent)]
    Config(#[from] csd_config::Error),
    /// The current directory, where the built-in cascade is looked for.
    #[error("the current directory: {0}")]
    CurrentDirectory(io::Error),
    /// The level is not in the cascade file.
    #[error("there is no level {name:?} in this cascade; its levels are {}", levels.join(", "))]
    UnknownLevel {
        /// The name asked for.
        name: String,
        /// Those that exist.
        levels: Vec<String>,
    },
    /// A setting of the command line, the environment or the file has a value that cannot be.
    #[error("{setting}: {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// Nobody allowed it to pretend.
    #[error(
        "level {level:?} would emulate hardware ({emulation}): its times would be no measure of this machine; say --allow-emulation or CSD_ALLOW_EMULATION=1 if that is what you want"
    )]
    Emulation {
        /// The level.
        level: String,
        /// What it would emulate.
        emulation: String,
    },
    /// The model.
    #[error(transparent)]
    Model(#[from] csd_engine::LoadError),
    /// The bigram table of Max-Gram cannot be read.
    #[error("the bigram table {}: {source}", path.display())]
    UnreadableBigrams {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bigram table of Max-Gram is none, or one for another vocabulary.
    #[error("{}: {source}", path.display())]
    Bigrams {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: csd_maxgram::BigramError,
    },
    /// Loading ended without a level or a reason: a panic, which is on standard error.
    #[error("loading the model failed; the log says where. This is a bug")]
    LoadingFailed,
    /// The thread that computes has ended: a panic, which is on standard error.
    #[error("the engine has stopped; the log says where. This is a bug")]
    Stopped,
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// The address, as resolved.
        address: SocketAddr,
        /// Why; a port in use is the usual reason.
        source: io::Error,
    },
    /// The system refuses a thread or a signal handler.
    #[error("the system refuses {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Logs or traces.
    #[error(transparent)]
    Telemetry(#[from] csd_telemetry::InitError),
    /// The files for TLS.
    #[error(transparent)]
    Tls(#[from] csd_transport::TlsError),
    /// The transport as a whole.
    #[error(transparent)]
    Serve(#[from] csd_transport::ServeError),
}

impl Error {
    pub(crate) fn setting(setting: &'static str, reason: impl Into<String>) -> Self {
        Self::Setting {
            setting,
            reason: reason.into(),
        }
    }
}
