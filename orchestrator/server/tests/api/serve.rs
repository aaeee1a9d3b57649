//! The whole server over real sockets: workers that are late, leave, come back, or are not what they should be.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use csd_config::{Cascade, Plan, Source, Weights};
use csd_level::{Error, Level, scripted::ScriptedLevel};
use csd_orchestrator::{Connected, SetupError, levels::Patience};
use csd_transport::{LevelService, ServiceOptions, incoming, serve};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use crate::world::{LIMIT, drafter, limits, target};

/// A level behind a socket.
struct Worker {
    address: String,
    service: LevelService,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Worker {
    async fn start(level: impl Level + 'static) -> Self {
        Self::at("127.0.0.1:0", level).await
    }

    async fn at(address: &str, level: impl Level + 'static) -> Self {
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
    async fn stop(self) -> String {
        self.service.close();
        drop(self.stop);
        tokio::time::timeout(LIMIT, self.task)
            .await
            .expect("in time")
            .expect("ends");
        self.address
    }
}

fn config(addresses: &[(&str, &str)]) -> Cascade {
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
        queue: 16,
        address: Some(address.into()),
        listen: None,
        emulate: None,
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
        levels: addresses.iter().map(level).collect(),
    }
}

const PATIENCE: Patience = Patience {
    target: Duration::from_millis(800),
    drafters: Duration::from_millis(300),
};

/// An orchestrator at a port of its own.
struct Server {
    address: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), SetupError>>,
}

impl Server {
    async fn start(connected: Connected) -> Self {
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

    async fn ask(&self, head: &str, body: &Value) -> (u16, String) {
        ask(&self.address, head, body).await
    }

    async fn calls(&self) -> Value {
        let (status, answer) = self.ask("POST /v1/completions", &request()).await;
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        answer["cascade"]["calls"].clone()
    }

    /// Waits until the health is this.
    async fn until(&self, status: u16, word: &str) {
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

async fn ask(address: &str, head: &str, body: &Value) -> (u16, String) {
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

fn request() -> Value {
    json!({"prompt": "fn main() {", "max_tokens": 40, "temperature": 0, "ignore_eos": true})
}

/// An address where nobody is.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drafter_may_come_late_leave_and_come_back() {
    let target = Worker::start(target()).await;
    let address = nowhere().await;
    let config = config(&[("target", &target.address), ("draft", &address)]);
    let connected = Connected::new(&config, PATIENCE).await.expect("starts");
    let server = Server::start(connected).await;
    assert_eq!(server.calls().await["draft"], 0);
    server.until(200, "degraded").await;

    let draft = Worker::at(&address, drafter("draft", 1)).await;
    server.until(200, "ok").await;
    assert!(server.calls().await["draft"].as_u64() > Some(1));

    let address = draft.stop().await;
    server.until(200, "degraded").await;
    let other = ScriptedLevel::new("draft", 512, 1, 1, 0.0);
    let wrong = Worker::at(&address, other).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(
        server.calls().await["draft"],
        0,
        "other tokens are not let in"
    );
    wrong.stop().await;
    let _draft = Worker::at(&address, drafter("draft", 1)).await;
    server.until(200, "ok").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_dies_is_reported_and_welcome_back() {
    let worker = Worker::start(target()).await;
    let config = config(&[("target", &worker.address)]);
    let config = Cascade {
        plan: Plan::Off,
        ..config
    };
    let connected = Connected::new(&config, PATIENCE).await.expect("starts");
    let server = Server::start(connected).await;
    server.until(200, "ok").await;
    let address = worker.stop().await;
    server.until(503, "unavailable").await;
    let (status, body) = server.ask("POST /v1/completions", &request()).await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("target"), "{body}");

    let changed = target().describe(|description| description.numerics = "other".into());
    let changed = Worker::at(&address, changed).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    let (status, body) = server.ask("GET /health", &Value::Null).await;
    assert_eq!(status, 503);
    assert!(body.contains("numerics"), "{body}");
    changed.stop().await;

    let _worker = Worker::at(&address, target()).await;
    server.until(200, "ok").await;
    assert_eq!(server.calls().await["target"], 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_says_which_level_and_where() {
    let refused = async |addresses: &[(&str, &str)]| {
        let outcome = Connected::new(&config(addresses), PATIENCE).await;
        outcome.err().expect("refused").to_string()
    };
    let nobody = nowhere().await;
    let error = refused(&[("target", &nobody), ("draft", &nobody)]).await;
    assert!(
        error.contains("\"target\"") && error.contains(&nobody),
        "{error}"
    );

    let worker = Worker::start(target()).await;
    let error = refused(&[("target", &worker.address), ("draft", "not an address")]).await;
    assert!(
        error.contains("\"draft\"") && error.contains("not an address"),
        "{error}"
    );

    let other = Worker::start(ScriptedLevel::new("draft", 512, 1, 1, 0.0)).await;
    let error = refused(&[("target", &worker.address), ("draft", &other.address)]).await;
    assert!(
        error.contains("draft") && error.contains("token map"),
        "{error}"
    );

    let statistical = Worker::start(crate::world::max_gram()).await;
    let error = refused(&[("target", &worker.address), ("draft", &statistical.address)]).await;
    assert!(
        error.contains("draft") && error.contains("Statistical"),
        "{error}"
    );

    let mut unplaced = config(&[("target", &worker.address)]);
    unplaced.levels[0].address = None;
    let outcome = Connected::new(&unplaced, PATIENCE).await;
    assert!(matches!(outcome.err(), Some(SetupError::NoAddress { level }) if level == "target"));

    let plan = config(&[("target", &worker.address)]);
    let error = Connected::new(&plan, PATIENCE)
        .await
        .err()
        .expect("refused");
    assert!(matches!(error, SetupError::Plan(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_in_progress_are_finished_before_the_end() {
    let released = Arc::new(tokio::sync::Notify::new());
    let held = crate::world::Held::new(target(), 2, released.clone());
    let worker = Worker::start(held).await;
    let config = Cascade {
        plan: Plan::Off,
        ..config(&[("target", &worker.address)])
    };
    let connected = Connected::new(&config, PATIENCE).await.expect("starts");
    let server = Server::start(connected).await;
    let mut body = request();
    body["stream"] = json!(true);
    body["max_tokens"] = json!(3);
    let address = server.address.clone();
    let text = tokio::spawn(async move { ask(&address, "POST /v1/completions", &body).await });
    while worker.service.gauges().in_flight == 0 || worker.service.gauges().verify_calls < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(server.stop);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        TcpStream::connect(&server.address).await.is_err(),
        "nobody new is let in"
    );
    released.notify_one();
    let (status, text) = text.await.expect("answered");
    assert!(status == 200 && text.contains("[DONE]"), "{text}");
    let ended = tokio::time::timeout(LIMIT, server.task).await;
    ended
        .expect("in time")
        .expect("ends")
        .expect("without an error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_dropped_by_every_level() {
    let never = Arc::new(tokio::sync::Notify::new());
    let held = crate::world::Held::new(target(), 1, never.clone());
    let target = Worker::start(held).await;
    let draft = Worker::start(crate::world::Held::new(drafter("draft", 1), 0, never)).await;
    let config = config(&[("target", &target.address), ("draft", &draft.address)]);
    let connected = Connected::new(&config, PATIENCE).await.expect("starts");
    let door = connected.orchestrator().admission().clone();
    let server = Server::start(connected).await;
    for stream in [false, true] {
        let mut body = request();
        body["stream"] = json!(stream);
        let address = server.address.clone();
        let client =
            tokio::spawn(async move { ask(&address, "POST /v1/completions", &body).await });
        let busy = |worker: &Worker| worker.service.gauges().in_flight > 0;
        let begun = Instant::now();
        while !(busy(&target) && busy(&draft) && door.running() == 1) {
            assert!(begun.elapsed() < LIMIT, "nobody works");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.abort();
        let left = Instant::now();
        while busy(&target) || busy(&draft) || door.running() > 0 {
            assert!(left.elapsed() < Duration::from_secs(1), "still at work");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_that_is_reachable_but_useless_is_tried_ever_more_rarely() {
    let target = Worker::start(target()).await;
    let useless = drafter("draft", 1).with_fault(Arc::new(|_| Some(Error::Internal("no".into()))));
    let counter = useless.clone();
    let draft = Worker::start(useless).await;
    let config = config(&[("target", &target.address), ("draft", &draft.address)]);
    let connected = Connected::new(&config, PATIENCE).await.expect("starts");
    let server = Server::start(connected).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        server.calls().await;
    }
    // At once, then after 1/4, 1/4 + 1/2 and 1/4 + 1/2 + 1 seconds; every quarter of a second would make twelve.
    let calls = counter.calls();
    assert!((2..=6).contains(&calls), "{calls}");
}
