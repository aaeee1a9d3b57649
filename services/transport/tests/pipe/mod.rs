//! A level served over an in-memory pipe, and the levels that the tests put there.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::{
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use csd_level::{
    BoxFuture, Call, Context, Description, Draft, DraftRequest, Lenience, Level, Result, Sampling,
    Token, Verdict, VerifyRequest, scripted::ScriptedLevel,
};
use csd_transport::{LevelService, RemoteLevel, RemoteOptions, ServeError, ServiceOptions, serve};
use hyper_util::rt::TokioIo;
use tokio::{io::DuplexStream, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};

pub const VOCABULARY: usize = 97;

/// A server in this process, reached by pipes.
pub struct Pipe {
    pub channel: Channel,
    pub service: LevelService,
    pub stop: CancellationToken,
    pub server: JoinHandle<Result<(), ServeError>>,
}

impl Pipe {
    /// Serves a level.
    pub fn new(level: Arc<dyn Level>, options: ServiceOptions) -> Self {
        Self::draining(level, options, Duration::from_secs(5))
    }

    /// Serves a level whose running calls have `drain` to end.
    pub fn draining(level: Arc<dyn Level>, options: ServiceOptions, drain: Duration) -> Self {
        let service = LevelService::new(level, options);
        let (channel, incoming) = pipes();
        let stop = CancellationToken::new();
        let server = serve(
            incoming,
            service.clone(),
            drain,
            stop.clone().cancelled_owned(),
        );
        Self {
            channel,
            service,
            stop,
            server: tokio::spawn(server),
        }
    }

    /// The level at the other end.
    pub async fn remote(&self) -> RemoteLevel {
        let address = Uri::from_static("http://pipe");
        RemoteLevel::over(self.channel.clone(), address, RemoteOptions::default())
            .await
            .expect("a level is served")
    }

    /// Waits, at most a second, until no call is in flight.
    pub async fn settles(&self) -> bool {
        for _ in 0..100 {
            if self.service.gauges().in_flight == 0 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

/// A channel, and the server's ends of its connections.
pub fn pipes() -> (Channel, UnboundedReceiverStream<io::Result<DuplexStream>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let connector = tower::service_fn(move |_: Uri| {
        let (client, server) = tokio::io::duplex(1 << 16);
        let sent = sender
            .send(Ok(server))
            .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused));
        async move { sent.map(|()| TokioIo::new(client)) }
    });
    let channel = Endpoint::from_static("http://pipe").connect_with_connector_lazy(connector);
    (channel, UnboundedReceiverStream::new(receiver))
}

/// A level that agrees with every other of this function only in part.
pub fn scripted(own: u64) -> ScriptedLevel {
    ScriptedLevel::new("draft", VOCABULARY, 11, own, 1.5)
}

/// A call of no special kind.
pub fn call(tokens: Vec<Token>, sampling: Sampling) -> Call {
    let prompt = tokens.len() / 2;
    Call {
        context: Context::from_parts(tokens, prompt).expect("a half fits"),
        sampling: Arc::new(sampling),
        session: 5,
        stream: 1,
        tenant: None,
        timeout: Duration::from_secs(10),
    }
}

/// A review of nothing.
pub fn review(timeout: Duration) -> VerifyRequest {
    VerifyRequest {
        call: Call {
            timeout,
            ..call(vec![1, 2, 3], Sampling::default())
        },
        draft: Draft::default(),
        lenience: Lenience::NONE,
        logprobs: None,
    }
}

/// A level that never answers, and counts who is waiting for it.
pub struct Stuck {
    description: Arc<Description>,
    pub waiting: Arc<AtomicUsize>,
    pub timeouts: std::sync::Mutex<Vec<Duration>>,
}

impl Stuck {
    pub fn new() -> Self {
        Self {
            description: scripted(0).description(),
            waiting: Arc::default(),
            timeouts: std::sync::Mutex::default(),
        }
    }

    fn wait<T: Send + 'static>(&self, timeout: Duration) -> BoxFuture<'_, Result<T>> {
        struct Waiter(Arc<AtomicUsize>);
        impl Drop for Waiter {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        self.timeouts.lock().expect("no panic").push(timeout);
        self.waiting.fetch_add(1, SeqCst);
        let waiter = Waiter(self.waiting.clone());
        Box::pin(async move {
            let _waiter = waiter;
            pending().await
        })
    }

    /// Waits, at most a second, until `count` callers wait.
    pub async fn has(&self, count: usize) -> bool {
        for _ in 0..200 {
            if self.waiting.load(SeqCst) == count {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }
}

impl Level for Stuck {
    fn description(&self) -> Arc<Description> {
        self.description.clone()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        self.wait(request.call.timeout)
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        self.wait(request.call.timeout)
    }
}

/// A level that takes its time.
pub struct Slow(pub ScriptedLevel, pub Duration);

impl Level for Slow {
    fn description(&self) -> Arc<Description> {
        self.0.description()
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async move {
            tokio::time::sleep(self.1).await;
            self.0.verify(request).await
        })
    }
}
