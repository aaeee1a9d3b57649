//! The life of a worker.

use std::{
    io::{self, Write},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    thread,
    time::Duration,
};

use csd_level::Level;
use csd_maxgram::Sharing;
use csd_telemetry::metrics;
use csd_transport::{LevelService, ServerTls, ServiceOptions, incoming, serve_over};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpSocket, lookup_host},
    sync::oneshot,
    time::sleep,
};

use crate::{
    Args, Error, Settings, emulation::Emulated, model::Model, settings::LevelSource, shutdown,
};

/// How long running calls may take to end after a worker was asked to.
const DRAIN: Duration = Duration::from_secs(5);

/// Between two looks at whether the level still computes.
const PULSE: Duration = Duration::from_secs(1);

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// What a worker says once it answers calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Announcement {
    /// The level.
    pub level: String,
    /// The process.
    pub pid: u32,
    /// Where it answers: `http://127.0.0.1:40123`.
    pub address: String,
    /// Where it is scraped: `http://127.0.0.1:40124/metrics`.
    pub metrics: String,
}

/// Runs `csd worker`: serves until a signal comes, or the parent goes.
///
/// # Errors
/// [`Error`] naming what is wrong. Once it serves, nothing that a caller does is an error.
pub async fn run(args: Args) -> Result<(), Error> {
    // First, so that a signal that comes while the model loads ends the process in order.
    let shutdown = shutdown::requested(args.with_parent)?;
    let settings = Settings::resolve(&args)?;
    let mut options = csd_telemetry::Options::from_env();
    options.instance = Some(format!("{}-{}", settings.name, std::process::id()));
    let _telemetry = csd_telemetry::init("csd-worker", &options)?;
    serve(settings, print, async {
        let reason = shutdown.await;
        tracing::info!(reason, "ending");
    })
    .await
}

/// Serves a level until `shutdown`, then drains. `announce` is called once it answers calls.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    settings: Settings,
    announce: impl FnOnce(&Announcement),
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut shutdown = pin!(shutdown);
    let Settings {
        name,
        source,
        memory,
        listen,
        metrics: scraped,
        queue,
        tls,
        emulation,
    } = settings;
    let (ca, certificate, key) = (tls.ca, tls.certificate, tls.key);
    let tls = ServerTls::load(ca.as_deref(), certificate.as_deref(), key.as_deref())?;
    // Before loading, which may take long, so that a port in use is noticed at once; but listening after it, so that
    // whoever comes too early is refused at once and does not wait.
    let socket = bind("listen", &listen).await?;
    let scraped = bind("metrics", &scraped).await?;
    let metrics = Arc::new(metrics::Level::new(&name));
    tracing::info!(csd.cascade.level = name, model = %source.model().display(), "loading");
    let model = tokio::select! {
        model = load(name.clone(), source, memory, metrics.clone()) => Arc::new(model?),
        () = &mut shutdown => return Ok(()),
    };
    let listener = open(socket)?;
    let address = local_address(&listener)?;
    let scrapes = open(scraped)?;
    let scraped = local_address(&scrapes)?;

    let options = ServiceOptions {
        concurrency: queue,
        ..ServiceOptions::default()
    };
    let (gauged, read, watched) = (model.clone(), model.clone(), model.clone());
    let mut level: Arc<dyn Level> = model;
    if let Some(emulation) = emulation {
        level = Arc::new(Emulated::new(level, &emulation));
    }
    describe(&level, address);
    let service = LevelService::with_engine(level, options, move |gauges| gauged.gauge(gauges));
    announce(&Announcement {
        level: name,
        pid: std::process::id(),
        address: match tls {
            Some(_) => format!("https://{address}"),
            None => format!("http://{address}"),
        },
        metrics: format!("http://{scraped}/metrics"),
    });
    let counted = service.clone();
    let render = move || metrics.render(read.reading(counted.gauges()));
    tokio::select! {
        ended = serve_over(tls.as_ref(), incoming(listener), service, DRAIN, shutdown) => ended?,
        never = crate::metrics::serve(scrapes, render) => match never {},
        () = stopped(&watched) => return Err(Error::Stopped),
    }
    tracing::info!("ended");
    Ok(())
}

/// Until a level answers nothing any more. Whoever started the process can start another one; nobody could tell from
/// outside that this one is of no use.
async fn stopped(model: &Model) {
    while !model.has_stopped() {
        sleep(PULSE).await;
    }
}

/// Loads on a thread that nobody has to wait for: neither the runtime's other work nor, when the process is to end before
/// the model is there, its exit.
async fn load(
    name: String,
    source: LevelSource,
    memory: Option<Sharing>,
    metrics: Arc<metrics::Level>,
) -> Result<Model, Error> {
    let (send, loaded) = oneshot::channel();
    let work = move || {
        // Nobody receives it when the process is ending already.
        let _ = send.send(Model::load(&name, source, memory, metrics));
    };
    thread::Builder::new()
        .name("csd-load".into())
        .spawn(work)
        .map_err(|source| Error::System {
            what: "a thread",
            source,
        })?;
    loaded.await.unwrap_or(Err(Error::LoadingFailed))
}

/// Takes an address without listening at it yet. A name may have several; the first that can be had is taken.
async fn bind(setting: &'static str, listen: &str) -> Result<TcpSocket, Error> {
    let unknown = |reason: String| {
        let reason = format!("{listen:?}: {reason}; must be ADDRESS:PORT, port 0 picks a free one");
        Error::setting(setting, reason)
    };
    let addresses = lookup_host(listen).await;
    let mut refused = unknown("no such host".into());
    for address in addresses.map_err(|error| unknown(error.to_string()))? {
        match bind_to(address) {
            Ok(socket) => return Ok(socket),
            Err(source) => refused = Error::Listen { address, source },
        }
    }
    Err(refused)
}

fn bind_to(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A worker that comes back at its address must not wait for the connections of its last life to expire.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn open(socket: TcpSocket) -> Result<TcpListener, Error> {
    let address = socket.local_addr().map_err(no_address)?;
    socket
        .listen(BACKLOG)
        .map_err(|source| Error::Listen { address, source })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(no_address)
}

fn no_address(source: io::Error) -> Error {
    Error::System {
        what: "a socket's address",
        source,
    }
}

fn describe(level: &Arc<dyn Level>, address: SocketAddr) {
    let description = level.description();
    tracing::info!(
        csd.cascade.level = description.name,
        %address,
        model = description.model,
        dtype = description.dtype,
        device = description.device,
        context = description.context,
        vocabulary = description.vocabulary,
        exact = description.exact,
        "serving"
    );
    if let Some(emulation) = &description.emulation {
        tracing::warn!(
            csd.cascade.level = description.name,
            emulation,
            "emulating hardware: times are no measure of this machine"
        );
    }
}

/// One line on standard output. That nobody reads it is no reason not to serve.
fn print(announcement: &Announcement) {
    let mut output = io::stdout().lock();
    let written = serde_json::to_writer(&mut output, announcement)
        .map_err(io::Error::from)
        .and_then(|()| output.write_all(b"\n"))
        .and_then(|()| output.flush());
    if let Err(error) = written {
        tracing::warn!(%error, "the announcement was not read");
    }
}
