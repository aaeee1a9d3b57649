//! `GET /metrics`, on a port of its own: whoever scrapes speaks HTTP/1, and may be kept off the port that levels talk on.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use csd_engine::Observer;
use csd_telemetry::metrics::{CONTENT_TYPE, Level};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Scrapes at once; more wait to be accepted.
const SCRAPES: usize = 8;

/// How long a scrape may take, connection and answer together.
const LONGEST: Duration = Duration::from_secs(10);

/// Before another attempt to accept, when the system has none to give.
const PAUSE: Duration = Duration::from_millis(100);

/// Tells the metrics what the engine does.
pub(crate) struct Watching(pub(crate) Arc<Level>);

impl Observer for Watching {
    fn waited(&self, time: Duration) {
        self.0.waited(time);
    }

    fn forward(&self, rows: usize, calls: usize, time: Duration) {
        self.0.forward(rows, calls, time);
    }
}

/// Answers whoever scrapes with what `render` writes, one request a connection, until dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    render: impl Fn() -> String + Clone + Send + Sync + 'static,
) -> Infallible {
    let places = Arc::new(Semaphore::new(SCRAPES));
    loop {
        // The semaphore is never closed: that a permit is missing is no reason to stop answering.
        let place = places.clone().acquire_owned().await;
        let (connection, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a scrape was not accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let scrape = scrape(connection, render.clone());
        tokio::spawn(async move {
            if timeout(LONGEST, scrape).await.is_err() {
                tracing::debug!("a scrape took too long");
            }
            drop(place);
        });
    }
}

async fn scrape(connection: TcpStream, render: impl Fn() -> String) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&request, &render);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(connection), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a scrape broke off");
    }
}

fn answer(request: &Request<Incoming>, render: impl Fn() -> String) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, CONTENT_TYPE, render()),
        (_, "/metrics") => (
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "only GET\n".into(),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "only /metrics is here\n".into(),
        ),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
