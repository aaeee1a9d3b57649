//! An orchestrator over scripted levels and the bundled tokenizer, asked without a socket.

use std::{path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, Response, StatusCode, header},
};
use csd_level::{
    BoxFuture, Description, Draft, DraftRequest, Error, Level, Result, Verdict, VerifyRequest,
    scripted::ScriptedLevel,
};
use csd_maxgram::{Bigrams, MaxGram, Settings};
use csd_orchestrator::{Orchestrator, Parts, Text, access::Access, http, template::Template};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::ServiceExt as _;

pub(crate) const VOCABULARY: usize = 4096;

/// Nothing in these tests takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) orchestrator: Arc<Orchestrator>,
    pub(crate) app: Router,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// A stream of events, read to its end.
pub(crate) struct Events {
    pub(crate) chunks: Vec<Value>,
    pub(crate) done: bool,
}

pub(crate) fn target() -> ScriptedLevel {
    level("target", 0, 0.0)
}

/// A level that mostly agrees with the target.
pub(crate) fn drafter(name: &str, own: u64) -> ScriptedLevel {
    level(name, own, 0.6)
}

fn level(name: &str, own: u64, disagreement: f32) -> ScriptedLevel {
    ScriptedLevel::new(name, VOCABULARY, 11, own, disagreement).describe(|description| {
        description.end_tokens = (100..130).collect();
        description.context = 256;
    })
}

pub(crate) fn max_gram() -> MaxGram {
    let map = target().description().token_map.clone();
    MaxGram::new(
        "maxgram",
        VOCABULARY,
        &map,
        Bigrams::default(),
        Settings::default(),
    )
    .expect("an empty table fits any vocabulary")
}

pub(crate) fn limits() -> csd_config::Limits {
    csd_config::Limits {
        draft_timeout: Duration::from_millis(500),
        verify_timeout: Duration::from_secs(20),
        concurrent_requests: 8,
        waiting_requests: 8,
        body_bytes: 1 << 16,
    }
}

pub(crate) fn plan() -> csd_config::Plan {
    csd_config::Plan::Matrix {
        k: vec![vec![4, 0, 4], vec![0, 3, 0], vec![0, 0, 2]],
        lenience: 1.0,
        pipelined: false,
    }
}

/// Target, draft, mini, maxgram.
pub(crate) fn levels() -> Vec<Arc<dyn Level>> {
    vec![
        Arc::new(target()),
        Arc::new(drafter("draft", 1)),
        Arc::new(drafter("mini", 2)),
        Arc::new(max_gram()),
    ]
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(levels(), limits())
    }

    pub(crate) fn over(levels: Vec<Arc<dyn Level>>, limits: csd_config::Limits) -> Self {
        Self::with(levels, limits, plan())
    }

    pub(crate) fn with(
        levels: Vec<Arc<dyn Level>>,
        limits: csd_config::Limits,
        plan: csd_config::Plan,
    ) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny/target");
        let levels = levels
            .into_iter()
            .map(|level| (level.description().name.clone(), level));
        let orchestrator = Orchestrator::new(Parts {
            model: "tiny".into(),
            levels: levels.collect(),
            text: Text::load(&folder).expect("the bundled tokenizer"),
            template: Some(Template::load(&folder).expect("the bundled template")),
            plan,
            limits,
        });
        let orchestrator = Arc::new(orchestrator.expect("fits"));
        Self {
            app: http::app(orchestrator.clone(), &Access::default()),
            orchestrator,
        }
    }

    /// The same world behind another door.
    pub(crate) fn behind(self, access: &Access) -> Self {
        let app = http::app(self.orchestrator.clone(), access);
        Self { app, ..self }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        let answer = self.app.clone().oneshot(request);
        let answer = tokio::time::timeout(LIMIT, answer).await;
        answer.expect("in time").expect("infallible")
    }

    pub(crate) async fn read(&self, request: Request<Body>) -> Answer {
        let response = self.send(request).await;
        let (parts, body) = response.into_parts();
        let bytes = tokio::time::timeout(LIMIT, to_bytes(body, usize::MAX)).await;
        let bytes = bytes.expect("in time").expect("a body");
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.read(Request::get(path).body(Body::empty()).expect("valid"))
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: impl ToString) -> Answer {
        self.read(post(path, body)).await
    }

    /// A completion that must succeed.
    pub(crate) async fn complete(&self, body: &Value) -> Value {
        let answer = self.post("/v1/completions", body).await;
        assert_eq!(answer.status, StatusCode::OK, "{body}: {}", answer.body);
        answer.body
    }

    /// The same, streamed.
    pub(crate) async fn stream(&self, body: &Value) -> Events {
        let mut body = body.clone();
        body["stream"] = json!(true);
        let answer = self.post("/v1/completions", &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{body}: {}", answer.body);
        let kind = answer.headers[header::CONTENT_TYPE].to_str();
        assert_eq!(kind.expect("ascii"), "text/event-stream");
        events(answer.body.as_str().expect("not JSON as a whole"))
    }
}

pub(crate) fn post(path: &str, body: impl ToString) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("valid")
}

pub(crate) fn events(text: &str) -> Events {
    let mut events = Events {
        chunks: Vec::new(),
        done: false,
    };
    for event in text.split("\n\n").filter(|event| !event.is_empty()) {
        assert!(!events.done, "nothing comes after [DONE]: {event}");
        let data = event.strip_prefix("data: ").expect("a data event");
        match data {
            "[DONE]" => events.done = true,
            data => events
                .chunks
                .push(serde_json::from_str(data).expect("JSON")),
        }
    }
    events
}

impl Events {
    /// Text `index`, its token ids, and why it ended.
    pub(crate) fn joined(&self, index: usize) -> (String, Vec<Value>, Value) {
        let (mut text, mut ids, mut reason) = (String::new(), Vec::new(), Value::Null);
        for chunk in &self.chunks {
            for choice in chunk["choices"].as_array().into_iter().flatten() {
                if choice["index"] == index {
                    assert_eq!(reason, Value::Null, "nothing comes after the end");
                    text.push_str(choice["text"].as_str().expect("a text"));
                    ids.extend(choice["token_ids"].as_array().cloned().unwrap_or_default());
                    reason = choice["finish_reason"].clone();
                }
            }
        }
        (text, ids, reason)
    }
}

/// A level that answers only while it is let: for stalls.
pub(crate) struct Held {
    inner: ScriptedLevel,
    after: u64,
    released: Arc<Notify>,
}

impl Held {
    /// Answers `after` calls at once and holds the others until `released` says otherwise, each time for one call.
    pub(crate) fn new(inner: ScriptedLevel, after: u64, released: Arc<Notify>) -> Self {
        Self {
            inner,
            after,
            released,
        }
    }

    async fn pass(&self, timeout: Duration) -> Result<()> {
        if self.inner.calls() < self.after {
            return Ok(());
        }
        let released = tokio::time::timeout(timeout, self.released.notified()).await;
        released.map_err(|_| Error::DeadlineExceeded)
    }
}

impl Level for Held {
    fn description(&self) -> Arc<Description> {
        self.inner.description()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        Box::pin(async move {
            self.pass(request.call.timeout).await?;
            self.inner.draft(request).await
        })
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async move {
            self.pass(request.call.timeout).await?;
            self.inner.verify(request).await
        })
    }
}
