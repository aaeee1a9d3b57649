//! `csd.v1.Cascade.Generate`: the same texts over gRPC, at the same port (HTTP/2 without an upgrade).
//!
//! A request becomes the fields of `POST /v1/completions` and goes the same way, so that both mean the same and refuse the
//! same. Health and reflection stand beside it.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{self, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response,
};
use csd_level::{Error, Pair, Tenant};
use csd_proto::v1::{
    self,
    cascade_server::{self, CascadeServer},
    generate_request::{Memory, Plan, Prompt},
};
use csd_transport::{deadline, server::reflection, status::to_status};
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::{Map, Value, json};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use tracing::Span;

use super::{completions, fields::Fields, job::Job, plan::level_name, trace};
use crate::{
    Failure, Orchestrator,
    access::{Access, Keys},
    generation::{Chunk, Finish, Generation, Reason, Written},
};

/// The name under which health is asked for; the empty name stands for the process.
const SERVICE: &str = "csd.v1.Cascade";

/// Between two looks at the health for somebody who watches.
const LOOK: Duration = Duration::from_millis(500);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The gRPC services over one orchestrator.
pub(super) fn routes(orchestrator: &Arc<Orchestrator>, access: &Access) -> Router {
    const CONTRACT: &str = "the contract that is built in can be described";
    let door = Door(orchestrator.clone());
    let limit = orchestrator.body_bytes();
    let who = (access.keys.clone(), orchestrator.clone());
    let asked_for_keys = middleware::from_fn_with_state(who, key);
    let cascade = CascadeServer::new(door.clone()).max_decoding_message_size(limit);
    Router::new()
        .route_service("/csd.v1.Cascade/{*method}", cascade)
        .route_layer(asked_for_keys)
        .route_service("/grpc.health.v1.Health/{*method}", HealthServer::new(door))
        .route_service(
            "/grpc.reflection.v1.ServerReflection/{*method}",
            reflection().build_v1().expect(CONTRACT),
        )
        .route_service(
            "/grpc.reflection.v1alpha.ServerReflection/{*method}",
            reflection().build_v1alpha().expect(CONTRACT),
        )
}

/// Asks for a key, notes whose it is, and answers in gRPC where there is none.
async fn key(
    State((keys, orchestrator)): State<(Keys, Arc<Orchestrator>)>,
    mut request: extract::Request,
    next: Next,
) -> response::Response {
    let header = request.headers().get(header::AUTHORIZATION);
    let Some(tenant) = keys.admit(header.map(|value| value.as_bytes())) else {
        let sent = header.is_some();
        let failure = Failure::Unauthorized { sent };
        trace::failed(&orchestrator, &Span::current(), &failure);
        return refused(&failure).into_http();
    };
    request.extensions_mut().insert(tenant);
    next.run(request).await
}

#[derive(Clone)]
struct Door(Arc<Orchestrator>);

#[tonic::async_trait]
impl cascade_server::Cascade for Door {
    type GenerateStream = Answers<v1::GenerateResponse>;

    async fn generate(
        &self,
        request: Request<v1::GenerateRequest>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let tenant = extensions.get().copied();
        let allowed = deadline::from_headers(metadata.as_ref()).map_err(|e| to_status(&e))?;
        let until = allowed.map(|allowed| Instant::now() + allowed);
        let begun = self.begin(message, tenant).await;
        let (writer, text) = begun.map_err(|failure| {
            trace::failed(&self.0, &Span::current(), &failure);
            refused(&failure)
        })?;
        Ok(Response::new(Box::pin(answers(writer, text, until))))
    }
}

impl Door {
    async fn begin(
        &self,
        message: v1::GenerateRequest,
        tenant: Option<Tenant>,
    ) -> Result<(Writer, Generation), Failure> {
        let fields = Fields::within("", fields(message));
        let job = completions::job(self.0.clone(), fields, tenant).await?;
        let span = Span::current();
        job.describe(&span);
        let mut texts = job.begin()?;
        let text = texts.pop().filter(|_| texts.is_empty());
        let text = text.ok_or_else(|| Failure::Internal("a request is one text".into()))?;
        let writer = Writer {
            job,
            written: 0,
            span,
        };
        Ok((writer, text))
    }
}

/// The fields of `POST /v1/completions` that say the same.
fn fields(message: v1::GenerateRequest) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    set(
        "prompt",
        message.prompt.map(|prompt| match prompt {
            Prompt::Text(text) => text.into(),
            Prompt::Tokens(tokens) => tokens.ids.into(),
        }),
    );
    set("model", message.model.map(Value::from));
    set("max_tokens", message.max_tokens.map(Value::from));
    set("min_tokens", message.min_tokens.map(Value::from));
    set("top_k", message.top_k.map(Value::from));
    set("seed", message.seed.map(Value::from));
    set("ignore_eos", Some(message.ignore_eos.into()));
    set("stop", Some(message.stop.into()));
    for (name, number) in [
        ("temperature", message.temperature),
        ("top_p", message.top_p),
        ("min_p", message.min_p),
        ("repetition_penalty", message.repetition_penalty),
        ("presence_penalty", message.presence_penalty),
        ("frequency_penalty", message.frequency_penalty),
    ] {
        set(name, number.map(float));
    }
    let bias = message.logit_bias.into_iter();
    let bias: Map<_, _> = bias
        .map(|bias| (bias.token.to_string(), float(bias.bias)))
        .collect();
    set("logit_bias", Some(bias.into()));
    let rule = match v1::Rule::try_from(message.rule) {
        Ok(v1::Rule::Unspecified) => json!("coupled"),
        Ok(v1::Rule::Rejection) => json!("rejection"),
        Err(_) => message.rule.into(),
    };
    set("rule", Some(rule));
    set(
        "cascade_memory",
        message.memory.map(|memory| match memory {
            Memory::Remembered(remembered) => remembered.into(),
            Memory::Part(name) => name.into(),
        }),
    );
    set(
        "cascade",
        message.plan.map(|plan| match plan {
            Plan::Named(name) => name.into(),
            Plan::Matrix(matrix) => {
                let rows: Vec<_> = matrix.rows.into_iter().map(|row| row.k).collect();
                let lenience = matrix.lenience.unwrap_or(1.0);
                json!({"k": rows, "lenience": float(lenience), "pipelined": matrix.pipelined})
            }
        }),
    );
    fields
}

/// What is no number is left as a word, for the check of the field to refuse.
fn float(number: f32) -> Value {
    match serde_json::Number::from_f64(number.into()) {
        Some(number) => number.into(),
        None => number.to_string().into(),
    }
}

/// Turns chunks into messages.
struct Writer {
    job: Job,
    written: usize,
    span: Span,
}

/// The text as it is written; dropping it stops everything that is computed for it.
fn answers(
    writer: Writer,
    text: Generation,
    until: Option<Instant>,
) -> impl Stream<Item = Result<v1::GenerateResponse, Status>> + Send {
    stream::unfold(Some((writer, text)), move |open| async move {
        let (mut writer, mut text) = open?;
        let chunk = match until {
            Some(until) => tokio::time::timeout_at(until.into(), text.next()).await,
            None => Ok(text.next().await),
        };
        match chunk {
            Err(_) => {
                let late = StatusCode::GATEWAY_TIMEOUT.as_u16();
                writer.job.orchestrator.metrics().failed(late);
                Some((Err(to_status(&Error::DeadlineExceeded)), None))
            }
            Ok(None) => None,
            Ok(Some(Ok(chunk))) => Some((Ok(writer.message(chunk)), Some((writer, text)))),
            Ok(Some(Err(failure))) => {
                trace::failed(&writer.job.orchestrator, &writer.span, &failure);
                Some((Err(refused(&failure)), None))
            }
        }
    })
}

impl Writer {
    fn message(&mut self, chunk: Chunk) -> v1::GenerateResponse {
        self.written += chunk.tokens.len();
        v1::GenerateResponse {
            tokens: chunk
                .tokens
                .into_iter()
                .map(|token| self.token(token))
                .collect(),
            finish: chunk.finish.map(|finish| self.finish(&finish)),
        }
    }

    fn name(&self, level: u8) -> String {
        level_name(&self.job.orchestrator, level).to_owned()
    }

    fn token(&self, Written { token, text, .. }: Written) -> v1::WrittenToken {
        let levels = (0..self.job.orchestrator.names().len() as u8).rev();
        let reviewers = levels.filter(|&level| token.reviewers >> level & 1 == 1);
        v1::WrittenToken {
            id: token.id,
            text,
            author: self.name(token.author),
            reviewers: reviewers.map(|level| self.name(level)).collect(),
            probability: token.probability,
        }
    }

    fn finish(&self, finish: &Finish) -> v1::Finish {
        let statistics = &finish.statistics;
        let reason = match finish.reason {
            Reason::Stop => v1::FinishReason::Stop,
            Reason::Length => v1::FinishReason::Length,
        };
        let calls = (0u8..).zip(self.job.orchestrator.names());
        let pair = |(&(reviewer, drafter), pair): (&(u8, u8), &Pair)| v1::ReviewedPair {
            reviewer: self.name(reviewer),
            drafter: self.name(drafter),
            drafted: pair.drafted,
            accepted: pair.accepted,
            per_position: pair.per_position.clone(),
        };
        v1::Finish {
            reason: reason.into(),
            prompt_tokens: self.job.prompt_tokens() as u32,
            completion_tokens: self.written as u32,
            calls: calls
                .map(|(level, name)| (name.clone(), statistics.calls_of(level)))
                .collect(),
            pairs: statistics.pairs.iter().map(pair).collect(),
        }
    }
}

/// A failure as gRPC has it, by the transport's table.
fn refused(failure: &Failure) -> Status {
    let error = match failure {
        Failure::Invalid { param, reason } | Failure::Unsupported { param, reason } => {
            Error::invalid(param, reason)
        }
        Failure::ContextLength { len, limit } => Error::ContextLength {
            len: *len,
            limit: *limit,
        },
        Failure::Busy { retry_after } => Error::Busy {
            retry_after: *retry_after,
        },
        Failure::Unavailable { .. } => Error::Unavailable(failure.to_string()),
        Failure::Unauthorized { .. } => return Status::unauthenticated(failure.to_string()),
        Failure::UnknownModel { .. } => return Status::not_found(failure.to_string()),
        other => Error::Internal(other.to_string()),
    };
    to_status(&error)
}

impl Door {
    /// Whether texts can be written.
    fn health(&self, service: &str) -> Result<HealthCheckResponse, Status> {
        if !["", SERVICE].contains(&service) {
            return Err(Status::not_found(format!(
                "there is no service {service:?}"
            )));
        }
        let status = match self.0.is_serving() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        Ok(HealthCheckResponse {
            status: status.into(),
        })
    }
}

#[tonic::async_trait]
impl Health for Door {
    type WatchStream = Answers<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(self.health(&request.service)?))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let first = self.health(&service)?;
        let later = stream::unfold((self.clone(), first), move |(door, last)| {
            let service = service.clone();
            async move {
                // Open, the watch would keep the connection, and the drain, alive.
                while !(door.0.is_leaving() && last.status() == ServingStatus::NotServing) {
                    tokio::time::sleep(LOOK).await;
                    let now = door.health(&service).ok()?;
                    if now != last {
                        return Some((Ok(now), (door, now)));
                    }
                }
                None
            }
        });
        let all = stream::iter([Ok(first)]).chain(later);
        Ok(Response::new(Box::pin(all)))
    }
}
