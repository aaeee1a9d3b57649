//! Peers that answer nonsense, or nothing: the caller gets an error that names it, and believes none of it.

mod pipe;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use csd_level::{
    Description, Draft, DraftRequest, DraftToken, Error, Lenience, Level, LogprobsRequest,
    Sampling, VerifyRequest,
};
use csd_proto::v1::{self, level_server};
use csd_transport::{RemoteLevel, RemoteOptions, convert};
use pipe::{VOCABULARY, call, pipes, scripted};
use tonic::{Request, Response, Status, transport::Server};

/// Says whatever it was told to say.
struct Liar {
    description: v1::DescribeResponse,
    draft: v1::DraftResponse,
    verdict: v1::VerifyResponse,
}

struct Served(Arc<Mutex<Liar>>);

#[tonic::async_trait]
impl level_server::Level for Served {
    async fn describe(
        &self,
        _: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        Ok(Response::new(
            self.0.lock().expect("no panic").description.clone(),
        ))
    }

    async fn draft(
        &self,
        _: Request<v1::DraftRequest>,
    ) -> Result<Response<v1::DraftResponse>, Status> {
        Ok(Response::new(
            self.0.lock().expect("no panic").draft.clone(),
        ))
    }

    async fn verify(
        &self,
        _: Request<v1::VerifyRequest>,
    ) -> Result<Response<v1::VerifyResponse>, Status> {
        Ok(Response::new(
            self.0.lock().expect("no panic").verdict.clone(),
        ))
    }

    async fn remember(
        &self,
        _: Request<v1::RememberRequest>,
    ) -> Result<Response<v1::RememberResponse>, Status> {
        Ok(Response::new(v1::RememberResponse {}))
    }
}

fn honest() -> v1::DescribeResponse {
    let description: Arc<Description> = scripted(1).description();
    convert::description_to_wire(&description, csd_transport::Gauges::default())
}

async fn liar() -> (RemoteLevel, Arc<Mutex<Liar>>) {
    let lies = Arc::new(Mutex::new(Liar {
        description: honest(),
        draft: v1::DraftResponse::default(),
        verdict: v1::VerifyResponse::default(),
    }));
    let (channel, incoming) = pipes();
    let service = level_server::LevelServer::new(Served(lies.clone()));
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    let address = "http://liar".parse().expect("an address");
    let remote = RemoteLevel::over(channel, address, RemoteOptions::default()).await;
    (remote.expect("described"), lies)
}

/// A token that passes.
fn good(id: u32) -> v1::DraftToken {
    v1::DraftToken {
        id,
        probability: 0.5,
        gap: 0.1,
        ..v1::DraftToken::default()
    }
}

fn nonsense<T: std::fmt::Debug>(answer: Result<T, Error>, field: &str) {
    match answer {
        Err(Error::Internal(message)) => assert!(
            message.contains("nonsense") && message.contains(field) && message.contains("liar"),
            "{field}: {message}"
        ),
        other => panic!("{field}: {other:?}"),
    }
}

#[tokio::test]
async fn drafts_are_checked() {
    let (remote, lies) = liar().await;
    let request = DraftRequest {
        call: call(vec![1, 2, 3], Sampling::default()),
        wanted: 2,
        room: 3,
        assist: 0,
        lenience: Lenience::NONE,
        prospects: None,
    };
    let fine = v1::DraftResponse {
        tokens: vec![good(4), good(5)],
        calls: vec![2, 1],
        timings: Some(v1::Timings::default()),
        ..v1::DraftResponse::default()
    };
    type Change = fn(&mut v1::DraftResponse);
    let changes: [(&str, Change); 17] = [
        ("tokens", |a| a.tokens = vec![good(1); 4]),
        ("tokens[1].id", |a| a.tokens[1].id = VOCABULARY as u32),
        ("tokens[0].probability", |a| {
            a.tokens[0].probability = f32::NAN
        }),
        ("tokens[0].probability", |a| a.tokens[0].probability = 1.5),
        ("tokens[0].probability", |a| a.tokens[0].probability = -0.1),
        ("tokens[0].gap", |a| a.tokens[0].gap = f32::NAN),
        ("tokens[0].runner_up", |a| {
            a.tokens[0].runner_up = Some(VOCABULARY as u32)
        }),
        ("tokens.author", |a| a.tokens[0].author = 2),
        ("tokens[0].author", |a| a.tokens[0].author = 1 << 20),
        ("tokens.reviewers", |a| a.tokens[0].reviewers = 0b100),
        ("tokens[0].proposal", |a| {
            a.tokens[0].proposal = vec![v1::Mass {
                token: 4,
                probability: 0.7,
            }];
        }),
        ("tokens[0].proposal", |a| {
            a.tokens[0].proposal = vec![v1::Mass {
                token: 3,
                probability: 1.0,
            }];
        }),
        ("calls", |a| a.calls = vec![1, 1, 1]),
        ("pairs.reviewer", |a| {
            a.pairs = vec![v1::Pair {
                reviewer: 9,
                ..v1::Pair::default()
            }];
        }),
        ("pairs.accepted", |a| {
            a.pairs = vec![v1::Pair {
                accepted: 9,
                ..v1::Pair::default()
            }];
        }),
        ("pairs.drafts", |a| {
            a.pairs = vec![v1::Pair {
                drafts: 2,
                drafted: 1,
                ..v1::Pair::default()
            }];
        }),
        ("timings", |a| a.timings = None),
    ];
    for (field, change) in changes {
        let mut answer = fine.clone();
        change(&mut answer);
        lies.lock().expect("no panic").draft = answer;
        nonsense(remote.draft(request.clone()).await, field);
    }
    lies.lock().expect("no panic").draft = fine;
    assert_eq!(remote.draft(request).await.expect("an answer").len(), 2);
}

#[tokio::test]
async fn verdicts_are_checked() {
    let (remote, lies) = liar().await;
    let sampling = Sampling {
        end_tokens: vec![6],
        ..Sampling::default()
    };
    let request = VerifyRequest {
        call: call(vec![1, 2, 3], sampling),
        draft: Draft {
            tokens: [5, 6].map(|id| DraftToken::bare(id, 0)).into(),
            ..Draft::default()
        },
        lenience: Lenience::NONE,
        logprobs: Some(LogprobsRequest {
            alternatives: 2,
            from: 3,
        }),
    };
    let said = v1::Logprobs {
        token: -1.0,
        top_tokens: vec![5, 9],
        top: vec![-0.5, -1.0],
    };
    let fine = v1::VerifyResponse {
        accepted: 1,
        next: Some(good(9)),
        probabilities: vec![0.5],
        timings: Some(v1::Timings::default()),
        logprobs: vec![said; 2],
        runners_up: vec![3],
    };
    type Change = fn(&mut v1::VerifyResponse);
    let changes: [(&str, Change); 18] = [
        ("accepted", |a| a.accepted = 3),
        ("probabilities", |a| a.probabilities = vec![]),
        ("probabilities", |a| a.probabilities = vec![f32::NAN]),
        ("runners_up", |a| a.runners_up = vec![3, 4]),
        ("runners_up", |a| a.runners_up = vec![VOCABULARY as u32]),
        ("next.id", |a| a.next = Some(good(VOCABULARY as u32))),
        ("next.gap", |a| {
            a.next = Some(v1::DraftToken {
                gap: f32::NAN,
                ..good(1)
            })
        }),
        ("next.author", |a| {
            a.next = Some(v1::DraftToken {
                author: 1,
                ..good(1)
            })
        }),
        ("next", |a| a.next = None),
        ("next", |a| {
            (a.accepted, a.probabilities) = (2, vec![0.5; 2]);
            a.runners_up = Vec::new();
        }),
        ("timings", |a| a.timings = None),
        ("logprobs", |a| a.logprobs.truncate(1)),
        ("logprobs.token", |a| a.logprobs[0].token = f32::NAN),
        ("logprobs.token", |a| a.logprobs[1].token = 0.1),
        ("logprobs.token", |a| {
            a.logprobs[1].token = f32::NEG_INFINITY
        }),
        ("logprobs.top", |a| {
            a.logprobs[0].top.pop();
        }),
        ("logprobs.top", |a| a.logprobs[0].top = vec![-1.0, -0.5]),
        ("logprobs.top", |a| {
            a.logprobs[0].top_tokens[1] = VOCABULARY as u32
        }),
    ];
    for (field, change) in changes {
        let mut answer = fine.clone();
        change(&mut answer);
        lies.lock().expect("no panic").verdict = answer;
        nonsense(remote.verify(request.clone()).await, field);
    }
    lies.lock().expect("no panic").verdict = fine;
    assert_eq!(remote.verify(request).await.expect("an answer").accepted, 1);
}

#[tokio::test]
async fn descriptions_are_checked() {
    let (remote, lies) = liar().await;
    type Change = fn(&mut v1::DescribeResponse);
    let changes: [(&str, Change); 6] = [
        ("kind", |a| a.kind = 0),
        ("kind", |a| a.kind = 77),
        ("vocabulary", |a| a.vocabulary = 0),
        ("context", |a| a.context = 0),
        ("rows", |a| a.rows = 0),
        ("end_tokens", |a| a.end_tokens = vec![VOCABULARY as u32]),
    ];
    for (field, change) in changes {
        let mut answer = honest();
        change(&mut answer);
        lies.lock().expect("no panic").description = answer;
        nonsense(remote.probe().await, field);
    }
    let mut answer = honest();
    answer.gauges = None;
    lies.lock().expect("no panic").description = answer;
    nonsense(remote.gauges().await, "gauges");
}

#[tokio::test]
async fn addresses_where_no_level_is() {
    let options = RemoteOptions {
        connect_timeout: Duration::from_millis(300),
        ..RemoteOptions::default()
    };
    for address in [
        "",
        "http://",
        "https://localhost:1",
        "not an address",
        "ftp://a:1",
    ] {
        match RemoteLevel::connect(address, options.clone()).await {
            Err(Error::Invalid { field, .. }) => assert_eq!(field, "address"),
            other => panic!("{address:?}: {other:?}"),
        }
    }

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    // It accepts, in the kernel, and never says a word.
    let silent = RemoteLevel::connect(&address, options.clone()).await;
    assert_eq!(silent.err(), Some(Error::DeadlineExceeded));

    drop(listener);
    match RemoteLevel::connect(&address, options.clone()).await {
        Err(Error::Unavailable(reason)) => assert!(reason.contains(&address), "{reason}"),
        other => panic!("{other:?}"),
    }

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\n\r\nhello")
                    .await;
        }
    });
    let web_server = RemoteLevel::connect(&address, options.clone()).await;
    assert!(
        matches!(web_server, Err(Error::Unavailable(_))),
        "{web_server:?}"
    );
}
