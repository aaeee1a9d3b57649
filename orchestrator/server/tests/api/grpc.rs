//! `csd.v1.Cascade` beside the HTTP API: the same texts, the same refusals.

use std::{sync::Arc, time::Duration};

use csd_level::Error;
use csd_orchestrator::{
    access::{Access, Keys},
    http,
};
use csd_proto::v1::{
    Bias, FinishReason, GenerateRequest, GenerateResponse, Matrix, Row, Rule, Tokens,
    cascade_client::CascadeClient,
    generate_request::{Plan, Prompt},
};
use csd_transport::status::from_status;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::world::{Held, LIMIT, World, levels, limits, target};

/// The world's app at a port.
async fn channel(world: &World) -> Channel {
    behind(world, &Access::default()).await
}

pub(crate) async fn behind(world: &World, access: &Access) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = http::app(world.orchestrator.clone(), access);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("a URL");
    endpoint.connect().await.expect("served")
}

fn request() -> GenerateRequest {
    GenerateRequest {
        prompt: Some(Prompt::Text("fn main() {".into())),
        max_tokens: Some(40),
        seed: Some(7),
        temperature: Some(0.75),
        ignore_eos: true,
        ..GenerateRequest::default()
    }
}

/// The same for the HTTP API.
fn body() -> Value {
    json!({"prompt": "fn main() {", "max_tokens": 40, "seed": 7, "temperature": 0.75, "ignore_eos": true,
           "return_token_ids": true})
}

async fn generate(
    channel: &Channel,
    request: impl tonic::IntoRequest<GenerateRequest>,
) -> Result<Vec<GenerateResponse>, Status> {
    let read = async {
        let mut client = CascadeClient::new(channel.clone());
        let mut stream = client.generate(request).await?.into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.next().await {
            messages.push(message?);
        }
        Ok(messages)
    };
    tokio::time::timeout(LIMIT, read).await.expect("in time")
}

fn joined(messages: &[GenerateResponse]) -> (String, Vec<u32>) {
    let tokens = || messages.iter().flat_map(|message| &message.tokens);
    let text = tokens().map(|token| token.text.as_str()).collect();
    (text, tokens().map(|token| token.id).collect())
}

#[tokio::test]
async fn a_text_over_grpc_is_that_over_http() {
    let world = World::new();
    let channel = channel(&world).await;
    let tokens = vec![17, 4, 99];
    let matrix = Matrix {
        rows: [[4, 0, 4], [0, 3, 0], [0, 0, 2]]
            .map(|row| Row { k: row.into() })
            .into(),
        lenience: Some(1.5),
        pipelined: true,
    };
    let with = |change: &dyn Fn(&mut GenerateRequest)| {
        let mut request = request();
        change(&mut request);
        request
    };
    let and = |field: &str, value: Value| {
        let mut body = body();
        body[field] = value;
        body
    };
    let cases = [
        (request(), body()),
        (
            with(&|r| {
                r.prompt = Some(Prompt::Tokens(Tokens {
                    ids: tokens.clone(),
                }))
            }),
            and("prompt", json!(tokens)),
        ),
        (
            with(&|r| r.temperature = Some(0.0)),
            and("temperature", json!(0)),
        ),
        (
            with(&|r| r.temperature = None),
            and("temperature", json!(1)),
        ),
        (with(&|r| r.top_k = Some(3)), and("top_k", json!(3))),
        (with(&|r| r.top_p = Some(0.5)), and("top_p", json!(0.5))),
        (
            with(&|r| {
                r.logit_bias = vec![Bias {
                    token: 5,
                    bias: 50.0,
                }]
            }),
            and("logit_bias", json!({"5": 50})),
        ),
        (
            // Alone: what drafters were there in time has a say in the text under this rule.
            with(&|r| {
                r.rule = Rule::Rejection.into();
                r.plan = Some(Plan::Named("off".into()));
            }),
            {
                let mut body = and("rule", json!("rejection"));
                body["cascade"] = json!("off");
                body
            },
        ),
        (
            with(&|r| r.plan = Some(Plan::Named("off".into()))),
            and("cascade", json!("off")),
        ),
        (
            with(&|r| r.plan = Some(Plan::Matrix(matrix.clone()))),
            and(
                "cascade",
                json!({"k": [[4, 0, 4], [0, 3, 0], [0, 0, 2]], "lenience": 1.5}),
            ),
        ),
        (
            with(&|r| r.ignore_eos = false),
            and("ignore_eos", json!(false)),
        ),
        (with(&|r| r.max_tokens = None), and("max_tokens", json!(16))),
    ];
    for (request, body) in cases {
        let messages = generate(&channel, request.clone()).await.expect("a text");
        let answer = world.complete(&body).await;
        let choice = &answer["choices"][0];
        let (text, ids) = joined(&messages);
        assert_eq!(json!(ids), choice["token_ids"], "{body}");
        assert_eq!(json!(text), choice["text"], "{body}");
        let (last, others) = messages.split_last().expect("messages");
        assert!(others.iter().all(|message| message.finish.is_none()));
        let finish = last.finish.as_ref().expect("the end");
        let reason = match finish.reason() {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Unspecified => "unspecified",
        };
        assert_eq!(choice["finish_reason"], reason);
        assert_eq!(answer["usage"]["prompt_tokens"], finish.prompt_tokens);
        assert_eq!(finish.completion_tokens as usize, ids.len());
        assert!(finish.calls["target"] > 0);
        let tokens = messages.iter().flat_map(|message| &message.tokens);
        for token in tokens {
            assert!(finish.calls.contains_key(&token.author), "{token:?}");
        }
    }
}

#[tokio::test]
async fn a_stop_string_ends_the_text_before_itself() {
    let world = World::new();
    let channel = channel(&world).await;
    let (whole, _) = joined(&generate(&channel, request()).await.expect("a text"));
    let stop: String = whole.chars().skip(30).take(3).collect();
    let stopped = GenerateRequest {
        stop: vec![stop.clone()],
        ..request()
    };
    let messages = generate(&channel, stopped).await.expect("a text");
    let (text, _) = joined(&messages);
    assert_eq!(text, whole.split(&stop).next().expect("a part"));
    let finish = messages.last().and_then(|last| last.finish.clone());
    assert_eq!(finish.expect("the end").reason(), FinishReason::Stop);
}

#[tokio::test]
async fn what_is_refused_names_the_field() {
    let world = World::new();
    let channel = channel(&world).await;
    let cases = [
        (
            GenerateRequest {
                prompt: None,
                ..request()
            },
            "prompt",
        ),
        (
            GenerateRequest {
                prompt: Some(Prompt::Tokens(Tokens {
                    ids: vec![1, 99_999],
                })),
                ..request()
            },
            "prompt",
        ),
        (
            GenerateRequest {
                temperature: Some(-1.0),
                ..request()
            },
            "temperature",
        ),
        (
            GenerateRequest {
                temperature: Some(f32::NAN),
                ..request()
            },
            "temperature",
        ),
        (
            GenerateRequest {
                max_tokens: Some(0),
                ..request()
            },
            "max_tokens",
        ),
        (
            GenerateRequest {
                rule: 9,
                ..request()
            },
            "rule",
        ),
        (
            GenerateRequest {
                stop: vec![String::new()],
                ..request()
            },
            "stop",
        ),
        (
            GenerateRequest {
                plan: Some(Plan::Named("paper-nothing".into())),
                ..request()
            },
            "cascade",
        ),
        (
            GenerateRequest {
                plan: Some(Plan::Matrix(Matrix::default())),
                ..request()
            },
            "cascade.k",
        ),
    ];
    for (request, expected) in cases {
        let status = generate(&channel, request).await.expect_err(expected);
        match from_status(&status) {
            Error::Invalid { field, reason } => {
                assert_eq!(field, expected);
                assert!(reason.len() > 5, "{reason}");
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
    let long = GenerateRequest {
        prompt: Some(Prompt::Tokens(Tokens { ids: vec![5; 300] })),
        ..request()
    };
    let status = generate(&channel, long).await.expect_err("too long");
    let expected = Error::ContextLength {
        len: 300,
        limit: 256,
    };
    assert_eq!(from_status(&status), expected);
    let other = GenerateRequest {
        model: Some("nobody".into()),
        ..request()
    };
    let status = generate(&channel, other).await.expect_err("unknown");
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn who_has_no_key_gets_no_text() {
    let world = World::new();
    let access = Access {
        keys: Keys::parse("sk-one").expect("a key"),
        ..Access::default()
    };
    let channel = behind(&world, &access).await;
    let status = generate(&channel, request()).await.expect_err("no key");
    assert_eq!(status.code(), Code::Unauthenticated);
    let mut keyed = Request::new(request());
    let bearer = "Bearer sk-one".parse().expect("a header");
    keyed.metadata_mut().insert("authorization", bearer);
    generate(&channel, keyed).await.expect("let in");
    // Probes bring no key.
    let mut health = HealthClient::new(channel);
    let answer = health.check(HealthCheckRequest::default()).await;
    answer.expect("answered");
}

#[tokio::test]
async fn a_text_that_is_cancelled_or_late_is_dropped() {
    let held = Held::new(target(), 3, Arc::new(Notify::new()));
    let mut all = levels();
    all[0] = Arc::new(held);
    let world = World::over(all, limits());
    let channel = channel(&world).await;
    let mut late = Request::new(request());
    late.set_timeout(Duration::from_millis(300));
    let status = generate(&channel, late).await.expect_err("late");
    // Who notices first, this side or the other, has its own word for it.
    let codes = [Code::DeadlineExceeded, Code::Cancelled];
    assert!(codes.contains(&status.code()), "{status:?}");
    let door = world.orchestrator.admission();
    let dropped = async || {
        let gone = async {
            while door.running() + door.waiting() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(1), gone).await;
        gone.expect("dropped at once");
    };
    dropped().await;
    let mut client = CascadeClient::new(channel.clone());
    let stream = client.generate(request()).await.expect("begun");
    assert_eq!(door.running() + door.waiting(), 1);
    drop(stream);
    dropped().await;
}

#[tokio::test]
async fn health_says_whether_texts_can_be_written() {
    let world = World::new();
    let channel = channel(&world).await;
    let mut client = HealthClient::new(channel);
    let ask = |service: &str| HealthCheckRequest {
        service: service.into(),
    };
    for service in ["", "csd.v1.Cascade"] {
        let answer = client
            .check(ask(service))
            .await
            .expect("known")
            .into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let unknown = client
        .check(ask("csd.v1.Level"))
        .await
        .expect_err("not here");
    assert_eq!(unknown.code(), Code::NotFound);
    let mut watch = client.watch(ask("")).await.expect("known").into_inner();
    let mut next = async || watch.next().await.expect("more").expect("well").status();
    assert_eq!(next().await, ServingStatus::Serving);
    world.orchestrator.cascade().gates()[0].close();
    assert_eq!(next().await, ServingStatus::NotServing);
}
