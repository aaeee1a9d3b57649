//! Who is helped by whose texts, where a level remembers them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::http::{StatusCode, header};
use csd_level::{
    BoxFuture, Description, Draft, DraftRequest, Error, Level, RememberRequest, Result, Tenant,
    Verdict, VerifyRequest,
};
use csd_maxgram::{Bigrams, MaxGram, Remembered, Settings, Sharing};
use csd_orchestrator::{
    Connected,
    access::{Access, Keys},
};
use csd_proto::v1::{
    GenerateRequest,
    cascade_client::CascadeClient,
    generate_request::{Memory, Prompt},
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tonic::Request;

use crate::{
    grpc::behind,
    sockets::{PATIENCE, Server, Worker, config, request},
    world::{LIMIT, VOCABULARY, World, drafter, limits, post, target},
};

/// A Max-Gram that remembers texts, keeps what it was told, and whose name stood on its calls.
struct Told {
    inner: MaxGram,
    texts: Mutex<Vec<RememberRequest>>,
    asked: Mutex<Vec<Option<Tenant>>>,
}

impl Told {
    fn new(sharing: Option<Sharing>) -> Arc<Self> {
        let map = target().description().token_map.clone();
        let settings = Settings {
            sharing,
            ..Settings::default()
        };
        let inner = MaxGram::new("maxgram", VOCABULARY, &map, Bigrams::default(), settings);
        Arc::new(Self {
            inner: inner.expect("an empty table fits any vocabulary"),
            texts: Mutex::default(),
            asked: Mutex::default(),
        })
    }

    fn texts(&self) -> Vec<RememberRequest> {
        self.texts.lock().expect("no panic").clone()
    }

    /// Waits until it was told of so many texts.
    async fn knows(&self, count: usize) -> Remembered {
        let told = async {
            while self.texts().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(LIMIT, told).await.expect("it is told");
        self.inner.remembered()
    }
}

impl Level for Told {
    fn description(&self) -> Arc<Description> {
        self.inner.description()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        let tenant = request.call.tenant;
        self.asked.lock().expect("no panic").push(tenant);
        self.inner.draft(request)
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        self.inner.verify(request)
    }

    fn remember(&self, request: RememberRequest) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let told = self.inner.remember(request.clone()).await;
            self.texts.lock().expect("no panic").push(request);
            told
        })
    }
}

fn sharing(across_tenants: bool) -> Option<Sharing> {
    Some(Sharing {
        bytes: 1 << 20,
        across_tenants,
    })
}

fn world(told: &Arc<Told>) -> World {
    let levels: Vec<Arc<dyn Level>> = vec![
        Arc::new(target()),
        Arc::new(drafter("draft", 1)),
        Arc::new(drafter("mini", 2)),
        told.clone(),
    ];
    World::over(levels, limits()).behind(&access())
}

fn access() -> Access {
    Access {
        keys: Keys::parse("sk-one\nsk-two").expect("keys"),
        ..Access::default()
    }
}

fn body() -> Value {
    json!({"prompt": "fn main() {", "max_tokens": 40, "seed": 7, "temperature": 0.75, "ignore_eos": true,
           "return_token_ids": true, "cascade": {"k": [[0, 0, 8], [0, 0, 0], [0, 0, 0]]}})
}

/// The answer to a request that comes with a key.
async fn ask(world: &World, key: &str, body: &Value) -> Value {
    let mut request = post("/v1/completions", body);
    let value = format!("Bearer {key}").parse().expect("a header");
    request.headers_mut().insert(header::AUTHORIZATION, value);
    let answer = world.read(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body
}

fn calls(answer: &Value) -> u64 {
    answer["cascade"]["calls"]["target"]
        .as_u64()
        .expect("calls")
}

#[tokio::test]
async fn a_text_is_remembered_as_it_was_answered_without_any_rejected_draft() {
    let told = Told::new(sharing(false));
    let world = world(&told);
    let mut body = body();
    body["cascade"] = json!({"k": [[4, 2, 4], [0, 3, 0], [0, 0, 2]]});
    let (mut drafted, mut accepted) = (0, 0);
    for number in 1..=5 {
        body["seed"] = json!(number);
        let answer = ask(&world, "sk-one", &body).await;
        told.knows(number).await;
        let pairs = answer["cascade"]["pairs"].as_array().expect("pairs");
        for pair in pairs.iter().filter(|pair| pair["reviewer"] == "target") {
            drafted += pair["drafted"].as_u64().expect("a number");
            accepted += pair["accepted"].as_u64().expect("a number");
        }
        let ids = &answer["choices"][0]["token_ids"];
        let text = &told.texts()[number - 1].text;
        assert_eq!(&json!(text.generated()), ids);
        assert_eq!(text.prompt_len() as u64, answer["usage"]["prompt_tokens"]);
    }
    assert!(drafted > accepted, "there were drafts to leave out");
}

#[tokio::test]
async fn a_second_writing_is_the_same_text_in_fewer_rounds() {
    let told = Told::new(sharing(false));
    let world = world(&told);
    let first = ask(&world, "sk-one", &body()).await;
    told.knows(1).await;
    let second = ask(&world, "sk-one", &body()).await;
    assert_eq!(first["choices"], second["choices"]);
    assert!(calls(&second) * 2 < calls(&first), "{second}");
}

#[tokio::test]
async fn nobody_is_helped_by_the_text_of_another_key_unless_all_share() {
    for across_tenants in [false, true] {
        let told = Told::new(sharing(across_tenants));
        let world = world(&told);
        let first = ask(&world, "sk-one", &body()).await;
        assert_eq!(told.knows(1).await.found, 0);
        let other = ask(&world, "sk-two", &body()).await;
        let found = told.knows(2).await.found;
        assert_eq!(found > 0, across_tenants, "{found}");
        assert_eq!(calls(&other) < calls(&first), across_tenants);
        assert_eq!(
            first["choices"], other["choices"],
            "the same text all the same"
        );
        let texts = told.texts();
        assert!(texts[0].tenant != texts[1].tenant);
        let shown = format!("{texts:?}");
        assert!(!shown.contains("sk-"), "{shown}");
    }
}

#[tokio::test]
async fn a_request_may_keep_apart_or_out() {
    let told = Told::new(sharing(false));
    let world = world(&told);
    ask(&world, "sk-one", &body()).await;
    told.knows(1).await;
    let mut own = body();
    for (count, name) in (2..).zip(["a", "b"]) {
        own["cascade_memory"] = json!(name);
        ask(&world, "sk-one", &own).await;
        assert_eq!(told.knows(count).await.found, 0, "{name}");
    }
    ask(&world, "sk-one", &own).await;
    assert!(told.knows(4).await.found > 0, "its own part");

    let before = told.inner.remembered();
    told.asked.lock().expect("no panic").clear();
    own["cascade_memory"] = json!(false);
    ask(&world, "sk-one", &own).await;
    // Levels that are not of the plan are not told either.
    let mut alone = body();
    alone["cascade"] = json!("off");
    ask(&world, "sk-one", &alone).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(told.inner.remembered(), before);
    assert_eq!(told.texts().len(), 4);
    let asked = told.asked.lock().expect("no panic").clone();
    assert!(!asked.is_empty() && asked.iter().all(Option::is_none));

    own["cascade_memory"] = json!(3);
    let mut request = post("/v1/completions", &own);
    let key = "Bearer sk-one".parse().expect("a header");
    request.headers_mut().insert(header::AUTHORIZATION, key);
    let refused = world.read(request).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.body["error"]["param"], "cascade_memory");
}

#[tokio::test]
async fn a_level_that_remembers_nothing_learns_no_tenant_and_no_whole_text() {
    let told = Told::new(None);
    let world = world(&told);
    ask(&world, "sk-one", &body()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(told.texts().is_empty());
    let asked = told.asked.lock().expect("no panic").clone();
    assert!(!asked.is_empty() && asked.iter().all(Option::is_none));
}

#[tokio::test]
async fn both_apis_speak_for_the_same_tenant() {
    let told = Told::new(sharing(false));
    let world = world(&told);
    let channel = behind(&world, &access()).await;
    let generate = async |memory: Option<Memory>| {
        let mut request = Request::new(GenerateRequest {
            prompt: Some(Prompt::Text("fn main() {".into())),
            max_tokens: Some(12),
            memory,
            ..GenerateRequest::default()
        });
        let key = "Bearer sk-one".parse().expect("ascii");
        request.metadata_mut().insert("authorization", key);
        let mut client = CascadeClient::new(channel.clone());
        let answer = client.generate(request).await.expect("let in");
        let messages: Vec<_> = answer.into_inner().collect().await;
        assert!(messages.iter().all(std::result::Result::is_ok));
    };
    generate(Some(Memory::Remembered(false))).await;
    let part = |name: &str| Some(Memory::Part(name.into()));
    for (count, memory) in (1..).zip([None, Some(Memory::Remembered(true)), part("a"), part("b")]) {
        generate(memory).await;
        told.knows(count).await;
    }
    let mut own = body();
    for (count, memory) in (5..).zip([json!(null), json!("a")]) {
        own["cascade_memory"] = memory;
        ask(&world, "sk-one", &own).await;
        told.knows(count).await;
    }
    let tenants: Vec<_> = told.texts().iter().map(|text| text.tenant).collect();
    let [plain, same, a, b, http, http_a] = tenants[..] else {
        panic!("{}", tenants.len())
    };
    assert!(plain == same && plain == http && a == http_a);
    assert!(a != b && a != plain && b != plain);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_is_told() {
    let told = [Told::new(sharing(false)), Told::new(sharing(false))];
    let aim = Worker::start(target()).await;
    let workers = [
        Worker::start(Shared(told[0].clone())).await,
        Worker::start(Shared(told[1].clone())).await,
    ];
    let places = format!("{} and {}", workers[0].address, workers[1].address);
    let mut config = config(&[("target", &aim.address), ("maxgram", &places)]);
    config.levels[1].source = csd_config::Source::MaxGram {
        model: "anywhere".into(),
        bigram: None,
    };
    let server = Server::start(Connected::new(&config, PATIENCE).await.expect("starts")).await;
    let (status, answer) = server.ask("POST /v1/completions", &request()).await;
    assert_eq!(status, 200, "{answer}");
    for replica in &told {
        replica.knows(1).await;
    }
    assert_eq!(told[0].texts()[0].text, told[1].texts()[0].text);
}

#[tokio::test]
async fn a_level_that_cannot_be_told_is_still_drafted_with() {
    let levels: Vec<Arc<dyn Level>> = vec![Arc::new(target()), Arc::new(Deaf)];
    let plan = csd_config::Plan::Matrix {
        k: vec![vec![4]],
        lenience: 1.0,
        pipelined: false,
    };
    let world = World::with(levels, limits(), plan);
    let mut body = body();
    body["cascade"] = Value::Null;
    let models = world.get("/v1/models").await.body;
    let levels = &models["data"][0]["cascade"]["levels"];
    assert_eq!(
        [&levels[0]["remembers"], &levels[1]["remembers"]],
        [false, true]
    );
    for _ in 0..3 {
        let answer = world.complete(&body).await;
        assert!(answer["cascade"]["calls"]["draft"].as_u64() > Some(0));
    }
}

/// A level through a shared handle.
struct Shared(Arc<Told>);

impl Level for Shared {
    fn description(&self) -> Arc<Description> {
        self.0.description()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        self.0.draft(request)
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        self.0.verify(request)
    }

    fn remember(&self, request: RememberRequest) -> BoxFuture<'_, Result<()>> {
        self.0.remember(request)
    }
}

/// A drafter that says it remembers, and fails whenever it is told.
struct Deaf;

impl Level for Deaf {
    fn description(&self) -> Arc<Description> {
        let describe = |description: &mut Description| description.remembers = true;
        drafter("draft", 1).describe(describe).description()
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async move { drafter("draft", 1).verify(request).await })
    }

    fn remember(&self, _: RememberRequest) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Err(Error::Unavailable("it does not listen".into())) })
    }
}
