//! A level on the other side of a network.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use csd_level::{
    BoxFuture, Description, Draft, DraftRequest, Error, Level, RememberRequest, Result, Verdict,
    VerifyRequest,
};
use csd_proto::v1::{self, level_client::LevelClient};
use csd_telemetry::names;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Uri},
};
use tracing::{Instrument, Span};

use crate::{Address, ClientTls, Gauges, MESSAGE_LIMIT, convert, status, trace};

/// Bytes in flight on a connection. A context never waits for a window to open.
const WINDOW: u32 = 1 << 20;

/// Calls given up whose streams are remembered, and for how long: a cascade gives up often.
const RESET_STREAMS: usize = 4096;
const RESET_MEMORY: Duration = Duration::from_secs(2);

/// How a remote level is reached.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// For the first connection and description together, and for every later connection.
    pub connect_timeout: Duration,
    /// For [`RemoteLevel::probe`] and [`RemoteLevel::gauges`].
    pub probe_timeout: Duration,
    /// A connection on which nothing has arrived for this long is asked for a sign of life, and given up after as long
    /// again.
    pub keepalive: Duration,
    /// For `https://` addresses, which nobody can reach without.
    pub tls: Option<ClientTls>,
}

impl Default for RemoteOptions {
    /// Two seconds to connect, one to answer a probe, five of silence.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            probe_timeout: Duration::from_secs(1),
            keepalive: Duration::from_secs(5),
            tls: None,
        }
    }
}

/// A level that is asked over gRPC.
///
/// Its connection comes back by itself: calls fail while there is none, and succeed again once something serves at the
/// address. What an answer says is checked against what was asked; a peer that answers nonsense is
/// [`Error::Internal`], not believed. Clones share the connection.
#[derive(Clone, Debug)]
pub struct RemoteLevel {
    client: LevelClient<Channel>,
    address: Uri,
    description: Arc<Description>,
    options: RemoteOptions,
}

impl RemoteLevel {
    /// Connects to `address`, as `http://host:port`, `https://host:port` or `host:port`, and asks what is there.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an address that is none, or one of TLS without [`RemoteOptions::tls`]; [`Error::Unavailable`] and [`Error::DeadlineExceeded`] when nobody
    /// answers there; [`Error::Internal`] when what answers is no level.
    pub async fn connect(address: &str, options: RemoteOptions) -> Result<Self> {
        Self::reach(&Address::parse(address)?, options).await
    }

    /// The same for an address that has been read.
    ///
    /// # Errors
    /// As [`RemoteLevel::connect`].
    pub async fn reach(address: &Address, options: RemoteOptions) -> Result<Self> {
        let uri = address.uri().clone();
        let endpoint = Endpoint::from(uri.clone())
            .tcp_nodelay(true)
            .connect_timeout(options.connect_timeout)
            .http2_keep_alive_interval(options.keepalive)
            .keep_alive_timeout(options.keepalive)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .http2_max_concurrent_reset_streams(RESET_STREAMS)
            .http2_reset_stream_duration(RESET_MEMORY);
        let endpoint = if address.is_secure() {
            let invalid = |reason| Error::invalid("address", format!("{address}: {reason}"));
            let tls = options.tls.as_ref();
            let tls = tls.ok_or_else(|| invalid("https:// needs tls.ca, whom to trust".into()))?;
            tls.secure(endpoint, address)
                .map_err(|error| invalid(status::causes(&error)))?
        } else {
            endpoint
        };
        Self::over(endpoint.connect_lazy(), uri, options).await
    }

    /// Asks what is at the other end of a channel. `address` is for logs and traces alone.
    ///
    /// # Errors
    /// As [`RemoteLevel::connect`].
    pub async fn over(channel: Channel, address: Uri, options: RemoteOptions) -> Result<Self> {
        let client = LevelClient::new(channel)
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        let response = describe(&client, &address, options.connect_timeout).await?;
        let description =
            convert::description(response).map_err(|error| nonsense(&address, error))?;
        Ok(Self {
            client,
            address,
            description: Arc::new(description),
            options,
        })
    }

    /// What is at the address now. It need not be what was there before: a worker may come back with another model.
    ///
    /// # Errors
    /// As [`RemoteLevel::connect`].
    pub async fn probe(&self) -> Result<Description> {
        let response = describe(&self.client, &self.address, self.options.probe_timeout).await?;
        convert::description(response).map_err(|error| nonsense(&self.address, error))
    }

    /// What the level counts, and what it is doing.
    ///
    /// # Errors
    /// As [`RemoteLevel::connect`].
    pub async fn gauges(&self) -> Result<Gauges> {
        let response = describe(&self.client, &self.address, self.options.probe_timeout).await?;
        convert::gauges(response.gauges).map_err(|error| nonsense(&self.address, error))
    }

    /// Where it is.
    pub fn address(&self) -> &Uri {
        &self.address
    }

    async fn ask_draft(&self, request: DraftRequest) -> Result<Draft> {
        let (span, begun) = (Span::current(), Instant::now());
        let (room, timeout) = (request.room, request.call.timeout);
        span.record(
            names::CONTEXT_TOKENS,
            names::count(request.call.context.len()),
        );
        let message = prepare(convert::draft_request_to_wire(request), timeout);
        let mut client = self.client.clone();
        let response = answer(&self.address, timeout, client.draft(message)).await?;
        let draft = convert::draft(response, room, self.description.vocabulary)
            .map_err(|error| nonsense(&self.address, error))?;
        trace::drafted(&span, &draft);
        trace::network(&span, begun.elapsed(), draft.timings);
        Ok(draft)
    }

    async fn ask_verify(&self, request: VerifyRequest) -> Result<Verdict> {
        let (span, begun) = (Span::current(), Instant::now());
        let timeout = request.call.timeout;
        span.record(
            names::CONTEXT_TOKENS,
            names::count(request.call.context.len()),
        );
        let message = prepare(convert::verify_request_to_wire(&request), timeout);
        let mut client = self.client.clone();
        let response = answer(&self.address, timeout, client.verify(message)).await?;
        let verdict = convert::verdict(response, &request, self.description.vocabulary)
            .map_err(|error| nonsense(&self.address, error))?;
        trace::reviewed(&span, request.draft.len(), &verdict);
        trace::network(&span, begun.elapsed(), verdict.timings);
        Ok(verdict)
    }

    async fn ask_remember(&self, request: RememberRequest) -> Result<()> {
        let tokens = names::count(request.text.len());
        Span::current().record(names::CONTEXT_TOKENS, tokens);
        let message = convert::remember_request_to_wire(&request);
        let message = prepare(message, request.timeout);
        let mut client = self.client.clone();
        let response = answer(&self.address, request.timeout, client.remember(message)).await;
        response.map(drop)
    }

    /// Runs a call in a span of its own.
    async fn traced<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let span = trace::client(method, &self.description.name, &self.address);
        let answer = call.instrument(span.clone()).await;
        trace::finished(&span, &answer, trace::failed_for_client);
        answer
    }
}

impl Level for RemoteLevel {
    fn description(&self) -> Arc<Description> {
        self.description.clone()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        Box::pin(self.traced(names::DRAFT_CALL, self.ask_draft(request)))
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(self.traced(names::VERIFY_CALL, self.ask_verify(request)))
    }

    fn remember(&self, request: RememberRequest) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.traced(names::REMEMBER_CALL, self.ask_remember(request)))
    }
}

async fn describe(
    client: &LevelClient<Channel>,
    address: &Uri,
    timeout: Duration,
) -> Result<v1::DescribeResponse> {
    let mut client = client.clone();
    let message = prepare(v1::DescribeRequest {}, timeout);
    answer(address, timeout, client.describe(message)).await
}

/// Adds deadline and trace to a message.
fn prepare<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    csd_telemetry::inject(request.metadata_mut().as_mut());
    request
}

/// Waits for an answer, not beyond the deadline: the other side may have stopped.
async fn answer<T>(
    address: &Uri,
    timeout: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T> {
    let begun = Instant::now();
    let status = match tokio::time::timeout(timeout, call).await {
        Ok(Ok(response)) => return Ok(response.into_inner()),
        Ok(Err(status)) => status,
        Err(_) => return Err(Error::DeadlineExceeded),
    };
    Err(match status::from_status(&status) {
        // At the deadline every layer in between gives up, each with a word of its own.
        Error::Cancelled | Error::Unavailable(_) if begun.elapsed() >= timeout => {
            Error::DeadlineExceeded
        }
        Error::Unavailable(reason) if std::error::Error::source(&status).is_some() => {
            Error::Unavailable(format!("{address}: {reason}"))
        }
        error => error,
    })
}

fn nonsense(address: &Uri, error: Error) -> Error {
    Error::Internal(format!("{address} answers nonsense: {error}"))
}
