//! Levels and orchestrators behind real sockets.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use csd_config::{Cascade, Plan, Source, Weights};
use csd_level::Level;
use csd_orchestrator::{Connected, SetupError, levels::Patience};
use csd_transport::{LevelService, ServiceOptions, incoming, serve};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use crate::world::{LIMIT, limits};

/// A level behind a socket.
pub(crate) struct Worker {
    pub(crate) address: String,
    pub(crate) service: LevelService,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<()>,
}

impl Worker {
    pub(crate) async fn start(level: impl Level + 'static) -> Self {
        Self::at("127.0.0.1:0", level).await
    }

    pub(crate) async fn at(address: &str, level: impl Level + 'static) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let service = LevelService::new(Arc::new(level), ServiceOptions::default());
        let (stop, stopped) = oneshot::channel();
        let running = service.clone();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            let served = serve(incoming(listener), running, Duration::ZERO, stopped).await;
            served.expect("serves");
        });
        Self {
            address,
            service,
            stop,
            task,
        }
    }

    /// Ends every call and closes the port.
    pub(crate) async fn stop(self) -> String {
        self.service.close();
        drop(self.stop);
        tokio::time::timeout(LIMIT, self.task)
            .await
            .expect("in time")
            .expect("ends");
        self.address
    }
}

/// A cascade of these levels; a level's addresses stand side by side.
pub(crate) fn config(addresses: &[(&str, &str)]) -> Cascade {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny/target");
    let level = |&(name, address): &(&str, &str)| csd_config::Level {
        name: name.into(),
        source: Source::Neural {
            model: model.clone(),
            weights: Weights::F32,
            device: "cpu".into(),
            threads: 1,
            rows: None,
            context: None,
            cache_bytes: 1 << 20,
            assisted: false,
            bigram: None,
        },
        memory: None,
        queue: 16,
        addresses: address.split(" and ").map(Into::into).collect(),
        allow_other_numerics: false,
        listen: None,
        emulate: None,
        metrics: None,
    };
    Cascade {
        name: "tiny".into(),
        tokenizer: None,
        listen: None,
        plan: Plan::Matrix {
            k: vec![vec![4]],
            lenience: 1.0,
            pipelined: false,
        },
        limits: limits(),
        tls: csd_config::Tls::default(),
        levels: addresses.iter().map(level).collect(),
    }
}

pub(crate) const PATIENCE: Patience = Patience {
    target: Duration::from_millis(800),
    drafters: Duration::from_millis(300),
};

/// An orchestrator at a port of its own.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<Result<(), SetupError>>,
}

impl Server {
    pub(crate) async fn start(connected: Connected) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(connected.serve(listener, Duration::from_secs(2), stopped));
        Self {
            address,
            stop,
            task,
        }
    }

    pub(crate) async fn ask(&self, head: &str, body: &Value) -> (u16, String) {
        ask(&self.address, head, body).await
    }

    pub(crate) async fn calls(&self) -> Value {
        let (status, answer) = self.ask("POST /v1/completions", &request()).await;
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        answer["cascade"]["calls"].clone()
    }

    /// Waits until the health is this.
    pub(crate) async fn until(&self, status: u16, word: &str) {
        let begun = Instant::now();
        loop {
            let (code, body) = self.ask("GET /health", &Value::Null).await;
            if code == status && body.contains(&format!("\"status\":\"{word}\"")) {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{code}: {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) async fn ask(address: &str, head: &str, body: &Value) -> (u16, String) {
    let body = body.to_string();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let exchange = async {
        let mut socket = TcpStream::connect(address).await.expect("connects");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("text");
        answer
    };
    let answer = tokio::time::timeout(LIMIT, exchange)
        .await
        .expect("in time");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

pub(crate) fn request() -> Value {
    json!({"prompt": "fn main() {", "max_tokens": 40, "temperature": 0, "ignore_eos": true})
}

/// An address where nobody is.
pub(crate) async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").to_string()
}
