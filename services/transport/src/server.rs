//! A service behind a listener: health, reflection, and an end that lets running calls finish.

use std::{future::pending, time::Duration};

use csd_proto::v1::{self, level_server::LevelServer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::oneshot,
    time::sleep,
};
use tokio_stream::Stream;
use tonic::transport::{
    Server,
    server::{Connected, TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{LevelService, MESSAGE_LIMIT, ServerTls};

/// The name under which a level's health is asked for; the empty name stands for the process.
pub const SERVICE: &str = "csd.v1.Level";

/// A connection whose other side has been silent for this long is asked for a sign of life.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// What answers need to leave once all calls have ended.
const FLUSH: Duration = Duration::from_millis(500);

/// Bytes in flight on a connection. A context never waits for a window to open.
const WINDOW: u32 = 1 << 20;

/// Why serving failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The contract that is built in cannot be described.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed as a whole.
    #[error("gRPC transport: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Connections of a listener, small packets sent at once.
pub fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .with_keepalive(Some(KEEPALIVE))
}

/// Serves until `shutdown`, with gRPC health (ready at once) and reflection (v1 and v1alpha) beside the level.
///
/// After `shutdown` health says not serving, no connection is accepted any more, and running calls have `drain` to end;
/// those that do not are answered with unavailable.
///
/// # Errors
/// [`ServeError`]. Nothing that a client does is one.
pub async fn serve<IO, E>(
    incoming: impl Stream<Item = Result<IO, E>>,
    service: LevelService,
    drain: Duration,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    serve_over(None, incoming, service, drain, shutdown).await
}

/// The same over TLS, if it is given.
///
/// # Errors
/// As [`serve`].
pub async fn serve_over<IO, E>(
    tls: Option<&ServerTls>,
    incoming: impl Stream<Item = Result<IO, E>>,
    service: LevelService,
    drain: Duration,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (reporter, health) = tonic_health::server::health_reporter();
    report(&reporter, ServingStatus::Serving).await;
    let level = LevelServer::new(service.clone())
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    // More streams than calls, so that a caller who is one too many hears so; and a caller may cancel them all at once.
    let streams = service.options().concurrency.saturating_mul(2).max(1024);
    let mut server = Server::builder();
    if let Some(tls) = tls {
        server = tls.secure(server)?;
    }
    let router = server
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(u32::try_from(streams).unwrap_or(u32::MAX))
        .http2_max_pending_accept_reset_streams(Some(streams))
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_service(level)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);

    let (tell, draining) = oneshot::channel();
    let drain_begins = async move {
        shutdown.await;
        retire(reporter).await;
        // Nobody waits for it any more when serving has ended by itself.
        let _ = tell.send(());
    };
    let patience = async {
        if draining.await.is_err() {
            pending::<()>().await;
        }
        sleep(drain).await;
        service.close();
        sleep(FLUSH).await;
    };
    tokio::select! {
        ended = router.serve_with_incoming_shutdown(incoming, drain_begins) => Ok(ended?),
        () = patience => Ok(()),
    }
}

/// gRPC reflection of everything in `csd.v1`, and of health.
pub fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    reporter.set_service_status("", status).await;
    reporter.set_service_status(SERVICE, status).await;
}

/// Says not serving, then ends all watches: an open one would keep its connection, and the drain, alive.
async fn retire(mut reporter: HealthReporter) {
    report(&reporter, ServingStatus::NotServing).await;
    reporter.clear_service_status("").await;
    reporter.clear_service_status(SERVICE).await;
}
