//! A whole cascade on this machine: a worker process for every level, and the orchestrator in this process.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use clap::builder::BoolishValueParser;
use csd_config::{Cascade, Source};
use csd_orchestrator::{ServeOptions, access::Access};
use csd_telemetry::{Guard, Options};
use csd_worker::TlsArgs;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    client::Client,
    supervisor::{Announcement, Event, Spec, Supervisor},
};

/// How long requests may take to end once the cascade is to stop.
const DRAIN: Duration = Duration::from_secs(4);
/// How much longer than that the orchestrator may take.
const LATE: Duration = Duration::from_millis(500);
/// How long workers may take after that. Together well under the ten seconds that a stop may last.
const GRACE: Duration = Duration::from_secs(3);
/// How long the orchestrator may take until it answers, all workers being ready. It gives up by itself before that.
const ANSWERS: Duration = Duration::from_secs(120);

/// A cascade with its processes. Dropping it kills them; [`Local::stop`] ends them in order, and waits until they are gone.
#[derive(Debug)]
pub(crate) struct Local {
    /// Where the API answers once it is [ready](Local::ready).
    pub(crate) url: String,
    cascade: Cascade,
    access: Access,
    supervisor: Supervisor,
    listener: Option<TcpListener>,
    orchestrator: Option<Orchestrator>,
}

/// What the command line changes about a cascade file.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Overrides {
    /// Another model in the target's place: a Hugging Face folder or a GGUF file.
    #[arg(long, value_name = "PATH")]
    pub(crate) target: Option<PathBuf>,
    /// Let levels emulate hardware as the cascade file asks, which they refuse without.
    #[arg(long, env = "CSD_ALLOW_EMULATION", value_parser = BoolishValueParser::new())]
    allow_emulation: bool,
    #[command(flatten)]
    tls: TlsArgs,
}

impl Overrides {
    /// The cascade as it is to run.
    pub(crate) fn apply(&self, mut cascade: Cascade) -> Cascade {
        let target = cascade.levels.first_mut().map(|level| &mut level.source);
        if let (Some(path), Some(Source::Neural { model, .. })) = (&self.target, target) {
            model.clone_from(path);
        }
        cascade.tls = self.tls.over(&cascade.tls);
        cascade
    }
}

/// The orchestrator, in this process.
#[derive(Debug)]
struct Orchestrator {
    task: JoinHandle<Result<()>>,
    /// Dropped, it asks for the end.
    shutdown: oneshot::Sender<()>,
}

/// Reads a cascade file, or takes the built-in one.
///
/// # Errors
/// The file is wrong, or the bundled models are not there.
pub(crate) fn cascade(file: Option<&Path>) -> Result<Cascade> {
    match file {
        Some(path) => Ok(Cascade::load(path)?),
        None => Ok(Cascade::built_in(&std::env::current_dir()?)?),
    }
}

/// Takes the port, before anything is started.
///
/// # Errors
/// It is in use, or no address.
pub(crate) async fn bind(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        anyhow!("cannot listen at {address}: {error}; choose another with --listen ADDR:PORT (port 0 picks a free one)")
    })
}

/// Starts to log, and to export traces if the environment names a collector. `quiet`: warnings alone, unless the environment
/// asks for more.
///
/// # Errors
/// The environment asks for what cannot be.
pub(crate) fn see(quiet: bool) -> Result<Guard> {
    let mut options = Options::from_env();
    if quiet && options.filter.is_none() {
        options.filter = Some("warn".into());
    }
    Ok(csd_telemetry::init("csd-orchestrator", &options)?)
}

/// Serves the API over levels that all have an address, until `shutdown`.
///
/// # Errors
/// The levels do not answer, or do not fit each other.
pub(crate) async fn serve(
    cascade: Cascade,
    access: Access,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let options = ServeOptions {
        drain: DRAIN,
        access,
        ..ServeOptions::default()
    };
    Ok(csd_orchestrator::serve(&cascade, listener, options, shutdown).await?)
}

impl Local {
    /// Starts every level of `cascade` (read from `file`, `overrides` applied) that has no address in it.
    ///
    /// # Errors
    /// This program does not know itself.
    pub(crate) fn start(
        cascade: Cascade,
        file: Option<&Path>,
        overrides: &Overrides,
        listener: TcpListener,
    ) -> Result<Self> {
        Ok(Self {
            url: format!("http://{}", listener.local_addr()?),
            supervisor: Supervisor::start(specs(&cascade, file, overrides)?),
            listener: Some(listener),
            orchestrator: None,
            cascade,
            access: Access::default(),
        })
    }

    /// The same, for those who may use the API; everybody, when nothing is said.
    #[must_use]
    pub(crate) fn open_to(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Waits until all levels are healthy and the API answers. `healthy` is told of each level.
    ///
    /// # Errors
    /// A level cannot start, or the orchestrator refuses them.
    pub(crate) async fn ready(
        &mut self,
        mut healthy: impl FnMut(&Announcement) -> Result<()>,
    ) -> Result<()> {
        while self
            .cascade
            .levels
            .iter()
            .any(|level| level.addresses.is_empty())
        {
            match self.supervisor.event().await {
                Event::Ready(worker) => {
                    healthy(&worker)?;
                    let mut levels = self.cascade.levels.iter_mut();
                    if let Some(level) = levels.find(|level| level.name == worker.level) {
                        level.addresses = vec![worker.address];
                    }
                }
                Event::Lost { level, reason, .. } => {
                    bail!("level {level:?} cannot start: {reason}");
                }
            }
        }
        if let Some(listener) = self.listener.take() {
            let (shutdown, asked) = oneshot::channel::<()>();
            let asked = async move {
                let _ = asked.await;
            };
            let task = tokio::spawn(serve(
                self.cascade.clone(),
                self.access.clone(),
                listener,
                asked,
            ));
            self.orchestrator = Some(Orchestrator { task, shutdown });
        }
        self.answers().await
    }

    /// The next thing that happens to a level.
    ///
    /// # Errors
    /// The orchestrator ended.
    pub(crate) async fn event(&mut self) -> Result<Event> {
        tokio::select! {
            event = self.supervisor.event() => Ok(event),
            error = ended(&mut self.orchestrator) => Err(error),
        }
    }

    /// Ends everything: no new requests, the running ones a moment to end, then the workers.
    pub(crate) async fn stop(self) {
        if let Some(Orchestrator { mut task, shutdown }) = self.orchestrator {
            drop(shutdown);
            if timeout(DRAIN + LATE, &mut task).await.is_err() {
                task.abort();
            }
        }
        self.supervisor.stop(GRACE).await;
    }

    /// Waits until the API answers.
    async fn answers(&mut self) -> Result<()> {
        let client = Client::new(&self.url)?;
        let healthy = async {
            while !matches!(client.get("/health").await, Ok((status, _)) if status.is_success()) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            healthy = timeout(ANSWERS, healthy) => {
                healthy.context("the levels are up, but the orchestrator does not become healthy")
            }
            error = ended(&mut self.orchestrator) => Err(error),
        }
    }
}

/// Waits for the orchestrator to end, which it should not; never, while there is none.
async fn ended(orchestrator: &mut Option<Orchestrator>) -> anyhow::Error {
    let end = match orchestrator {
        Some(orchestrator) => (&mut orchestrator.task).await,
        None => return std::future::pending().await,
    };
    // A task that has ended must not be awaited again.
    *orchestrator = None;
    match end {
        Ok(Ok(())) => anyhow!("the orchestrator ended by itself"),
        Ok(Err(error)) => error,
        Err(error) => anyhow!("the orchestrator failed: {error}"),
    }
}

/// How to start the levels that are not already somewhere.
fn specs(cascade: &Cascade, file: Option<&Path>, overrides: &Overrides) -> Result<Vec<Spec>> {
    let program = std::env::current_exe().context("cannot find the csd program itself")?;
    let here = cascade
        .levels
        .iter()
        .filter(|level| level.addresses.is_empty());
    Ok(here
        .map(|level| {
            let mut arguments: Vec<OsString> = vec!["worker".into()];
            if let Some(file) = file {
                arguments.extend(["--cascade".into(), file.into()]);
            }
            arguments.extend(["--level".into(), level.name.clone().into()]);
            let tls = &cascade.tls;
            for (flag, file) in [
                ("--tls-ca", &tls.ca),
                ("--tls-certificate", &tls.certificate),
                ("--tls-key", &tls.key),
            ] {
                arguments.extend(file.iter().flat_map(|file| [flag.into(), file.into()]));
            }
            let target = overrides.target.as_ref();
            if let Some(target) = target.filter(|_| level.name == cascade.levels[0].name) {
                arguments.extend(["--model".into(), target.into()]);
            }
            if overrides.allow_emulation {
                arguments.push("--allow-emulation".into());
            }
            arguments.push("--with-parent".into());
            Spec {
                level: level.name.clone(),
                program: program.clone(),
                arguments,
            }
        })
        .collect())
}
