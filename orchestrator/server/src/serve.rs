//! The life of the orchestrator: connect, serve, drain.

use std::{sync::Arc, time::Duration};

use axum::serve::ListenerExt as _;
use csd_config::Cascade as Config;
use csd_level::Level;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};

use crate::{
    Orchestrator, Parts,
    access::Access,
    http,
    levels::{self, Patience},
    prober,
    seat::Seat,
    template::Template,
    text::{Text, TextError},
};

/// How long a connection lasts whose other end takes nothing: until then, a text for it holds its turn.
#[cfg(target_os = "linux")]
const UNREAD: Duration = Duration::from_secs(60);

/// Why the orchestrator does not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The cascade file does not say where a level is.
    #[error(
        "level {level:?} has no address; give it one in the cascade file, or start all levels with `csd up`"
    )]
    NoAddress {
        /// The level.
        level: String,
    },
    /// What it says is no address.
    #[error("level {level:?}: {error}")]
    Address {
        /// The level.
        level: String,
        /// What is wrong.
        error: csd_level::Error,
    },
    /// Nobody, or nobody useful, is where the target should be.
    #[error("level {level:?} at {address} is needed and does not answer: {error}")]
    TargetMissing {
        /// The level.
        level: String,
        /// Where it was looked for.
        address: String,
        /// What happened.
        error: csd_level::Error,
    },
    /// Another kind of level is there.
    #[error("level {level:?}: {reason}; check the addresses")]
    Kind {
        /// The level.
        level: String,
        /// Where, and what is there.
        reason: String,
    },
    /// The files for TLS.
    #[error(transparent)]
    Tls(#[from] csd_transport::TlsError),
    /// The levels cannot work together.
    #[error(transparent)]
    Mismatch(#[from] csd_cascade::Mismatch),
    /// The tokenizer is another model's.
    #[error(
        "the tokenizer has token ids up to {tokenizer}, the target only {target}; name the target's own with `tokenizer = \"…\"` in the cascade file"
    )]
    Tokenizer {
        /// Tokens of the tokenizer.
        tokenizer: usize,
        /// Tokens of the target.
        target: usize,
    },
    /// The plan does not fit the levels.
    #[error("the plan of the cascade file: {0}")]
    Plan(csd_level::Error),
    /// There is no tokenizer.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The listener failed.
    #[error("cannot serve: {0}")]
    Serve(#[from] std::io::Error),
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// How long to wait for workers at start.
    pub patience: Patience,
    /// How long texts in progress may go on after the shutdown was asked for.
    pub drain: Duration,
    /// Who may use the API.
    pub access: Access,
}

impl Default for ServeOptions {
    /// Five seconds to drain.
    fn default() -> Self {
        Self {
            patience: Patience::default(),
            drain: Duration::from_secs(5),
            access: Access::default(),
        }
    }
}

/// An orchestrator whose target has answered, and the watch over its levels, which ends with it.
pub struct Connected {
    orchestrator: Arc<Orchestrator>,
    access: Access,
    _probers: JoinSet<()>,
}

impl Connected {
    /// Connects to the levels of a cascade file, each at its address.
    ///
    /// # Errors
    /// [`SetupError`].
    pub async fn new(config: &Config, patience: Patience) -> Result<Self, SetupError> {
        let folder = Text::folder(config)?;
        let text = Text::load(&folder)?;
        let template = Template::load(&folder)
            .inspect_err(|error| tracing::info!(%error, "no chat for this model"))
            .ok();
        let seats = levels::find(&config.levels, &config.tls, patience).await?;
        let named = |seat: &Arc<Seat>| (seat.name().to_owned(), seat.clone() as Arc<dyn Level>);
        let orchestrator = Arc::new(Orchestrator::new(Parts {
            model: config.name.clone(),
            levels: seats.iter().map(named).collect(),
            text,
            template,
            plan: config.plan.clone(),
            limits: config.limits,
        })?);
        for seat in &seats {
            if let Some(emulation) = &seat.description().emulation {
                tracing::warn!(level = %seat.name(), emulation, "a level emulates hardware: times are no measure of its machine");
            }
        }
        Ok(Self {
            _probers: prober::watch(&orchestrator, seats),
            orchestrator,
            access: Access::default(),
        })
    }

    /// The same, for those who may use it; everybody, when nothing is said.
    #[must_use]
    pub fn open_to(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// The orchestrator.
    pub fn orchestrator(&self) -> &Arc<Orchestrator> {
        &self.orchestrator
    }

    /// Answers HTTP requests until `shutdown`, then lets texts in progress finish within `drain`.
    ///
    /// # Errors
    /// [`SetupError::Serve`] when the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        drain: Duration,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), SetupError> {
        let (asked, was_asked) = oneshot::channel();
        let orchestrator = self.orchestrator.clone();
        let shutdown = async move {
            shutdown.await;
            orchestrator.leave();
            let _ = asked.send(()); // nobody listens when serving has failed already
        };
        let app = http::app(self.orchestrator.clone(), &self.access);
        // Chunks of a stream are small and must not wait for each other.
        let listener = listener.tap_io(|connection| {
            if let Err(error) = connection.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps small packets back");
            }
            #[cfg(target_os = "linux")]
            if let Err(error) = SockRef::from(&*connection).set_tcp_user_timeout(Some(UNREAD)) {
                tracing::debug!(%error, "a reader that stalls is not noticed");
            }
        });
        let server = axum::serve(listener, app).with_graceful_shutdown(shutdown);
        let drained = async move {
            if was_asked.await.is_ok() {
                tokio::time::sleep(drain).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            served = async { server.await } => Ok(served?),
            () = drained => {
                tracing::warn!("texts in progress were cut off at the end of the drain time");
                Ok(())
            }
        }
    }
}

/// Connects to the levels of a cascade file and serves the API until `shutdown`.
///
/// # Errors
/// [`SetupError`].
pub async fn serve(
    config: &Config,
    listener: TcpListener,
    options: ServeOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), SetupError> {
    let connected = Connected::new(config, options.patience).await?;
    let connected = connected.open_to(options.access);
    connected.serve(listener, options.drain, shutdown).await
}
