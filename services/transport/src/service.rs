//! Any level, served as `csd.v1.Level`.

use std::{sync::Arc, time::Duration};

use csd_level::{Error, Level, Result};
use csd_proto::v1::{self, level_server};
use csd_telemetry::names;
use http::HeaderMap;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::{Instrument, Span};

use crate::{
    Gauges, convert, deadline,
    gauges::{Counters, InFlight},
    status, trace,
};

/// When a caller should come back to a full queue. A forward takes less.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Bounds of a service.
#[derive(Clone, Copy, Debug)]
pub struct ServiceOptions {
    /// Calls at once, running or waiting; more are refused with [`Error::Busy`].
    pub concurrency: usize,
    /// The longest a call may take; also the deadline of a call that has none.
    pub longest: Duration,
}

impl Default for ServiceOptions {
    /// 256 calls, two minutes.
    fn default() -> Self {
        Self {
            concurrency: 256,
            longest: Duration::from_secs(120),
        }
    }
}

/// Fills in what the engine knows: forwards, rows, queued, cache bytes.
type ReadEngine = dyn Fn(&mut Gauges) + Send + Sync;

/// Serves a level. Clones serve the same one and count together.
#[derive(Clone)]
pub struct LevelService {
    shared: Arc<Shared>,
}

struct Shared {
    level: Arc<dyn Level>,
    options: ServiceOptions,
    counters: Counters,
    engine: Box<ReadEngine>,
    closing: CancellationToken,
}

impl LevelService {
    /// Serves `level`.
    pub fn new(level: Arc<dyn Level>, options: ServiceOptions) -> Self {
        Self::with_engine(level, options, |_| {})
    }

    /// Serves `level`, whose engine fills in the gauges that only it knows: forwards, rows, queued, cache bytes.
    pub fn with_engine(
        level: Arc<dyn Level>,
        options: ServiceOptions,
        engine: impl Fn(&mut Gauges) + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                level,
                options,
                counters: Counters::default(),
                engine: Box::new(engine),
                closing: CancellationToken::new(),
            }),
        }
    }

    /// What has been counted, and what is going on.
    pub fn gauges(&self) -> Gauges {
        let mut gauges = self.shared.counters.read();
        (self.shared.engine)(&mut gauges);
        gauges
    }

    /// Ends all calls, now and from now on, with [`Error::Unavailable`].
    pub fn close(&self) {
        self.shared.closing.cancel();
    }

    /// The bounds it was made with.
    pub(crate) fn options(&self) -> ServiceOptions {
        self.shared.options
    }
}

impl Shared {
    fn admit(&self) -> Result<InFlight<'_>> {
        let limit = self.options.concurrency as u64;
        self.counters.enter(limit).ok_or(Error::Busy {
            retry_after: RETRY_AFTER,
        })
    }

    fn timeout(&self, headers: &HeaderMap) -> Result<Duration> {
        let asked = deadline::from_headers(headers)?.unwrap_or(self.options.longest);
        Ok(deadline::answer_within(asked.min(self.options.longest)))
    }

    /// Waits for the level, not beyond the deadline, nor beyond the end of the service.
    async fn within<T>(
        &self,
        timeout: Duration,
        answer: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(Error::Unavailable("shutting down".into())),
            answer = tokio::time::timeout(timeout, answer) => {
                answer.unwrap_or(Err(Error::DeadlineExceeded))
            }
        }
    }

    async fn draft(
        &self,
        headers: &HeaderMap,
        wire: v1::DraftRequest,
    ) -> Result<v1::DraftResponse> {
        let _in_flight = self.admit()?;
        let timeout = self.timeout(headers)?;
        let vocabulary = self.level.description().vocabulary;
        let request = convert::draft_request(wire, vocabulary, timeout)?;
        let span = Span::current();
        span.record(
            names::CONTEXT_TOKENS,
            names::count(request.call.context.len()),
        );
        let draft = self.within(timeout, self.level.draft(request)).await?;
        self.counters.record_draft(&draft);
        trace::drafted(&span, &draft);
        Ok(convert::draft_to_wire(draft))
    }

    async fn verify(
        &self,
        headers: &HeaderMap,
        wire: v1::VerifyRequest,
    ) -> Result<v1::VerifyResponse> {
        let _in_flight = self.admit()?;
        let timeout = self.timeout(headers)?;
        let vocabulary = self.level.description().vocabulary;
        let request = convert::verify_request(wire, vocabulary, timeout)?;
        let span = Span::current();
        span.record(
            names::CONTEXT_TOKENS,
            names::count(request.call.context.len()),
        );
        let drafted: Vec<_> = request.draft.ids().collect();
        let verdict = self.within(timeout, self.level.verify(request)).await?;
        self.counters.record_verdict(drafted.len(), &verdict);
        trace::reviewed(&span, drafted.len(), &verdict);
        Ok(convert::verdict_to_wire(verdict, &drafted))
    }

    async fn remember(
        &self,
        headers: &HeaderMap,
        wire: v1::RememberRequest,
    ) -> Result<v1::RememberResponse> {
        let _in_flight = self.admit()?;
        let timeout = self.timeout(headers)?;
        let vocabulary = self.level.description().vocabulary;
        let request = convert::remember_request(wire, vocabulary, timeout)?;
        let tokens = names::count(request.text.len());
        Span::current().record(names::CONTEXT_TOKENS, tokens);
        self.within(timeout, self.level.remember(request)).await?;
        Ok(v1::RememberResponse {})
    }
}

/// Runs a handler in the span of its call, and turns its answer into gRPC's.
async fn answered<T>(
    span: Span,
    answer: impl Future<Output = Result<T>>,
) -> Result<Response<T>, Status> {
    let answer = answer.instrument(span.clone()).await;
    trace::finished(&span, &answer, trace::failed_for_server);
    match answer {
        Ok(message) => Ok(Response::new(message)),
        Err(error) => Err(status::to_status(&error)),
    }
}

#[tonic::async_trait]
impl level_server::Level for LevelService {
    async fn describe(
        &self,
        _: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        let description = self.shared.level.description();
        let response = convert::description_to_wire(&description, self.gauges());
        Ok(Response::new(response))
    }

    async fn draft(
        &self,
        request: Request<v1::DraftRequest>,
    ) -> Result<Response<v1::DraftResponse>, Status> {
        let (metadata, _, wire) = request.into_parts();
        let name = &self.shared.level.description().name;
        let span = trace::server(names::DRAFT_CALL, name, metadata.as_ref());
        answered(span, self.shared.draft(metadata.as_ref(), wire)).await
    }

    async fn verify(
        &self,
        request: Request<v1::VerifyRequest>,
    ) -> Result<Response<v1::VerifyResponse>, Status> {
        let (metadata, _, wire) = request.into_parts();
        let name = &self.shared.level.description().name;
        let span = trace::server(names::VERIFY_CALL, name, metadata.as_ref());
        answered(span, self.shared.verify(metadata.as_ref(), wire)).await
    }

    async fn remember(
        &self,
        request: Request<v1::RememberRequest>,
    ) -> Result<Response<v1::RememberResponse>, Status> {
        let (metadata, _, wire) = request.into_parts();
        let name = &self.shared.level.description().name;
        let span = trace::server(names::REMEMBER_CALL, name, metadata.as_ref());
        answered(span, self.shared.remember(metadata.as_ref(), wire)).await
    }
}
