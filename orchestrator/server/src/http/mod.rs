//! The OpenAI-compatible API.
//!
//! - `fields`: a request's body, taken apart field by field, so that every error can name one
//! - `sampling`, `plan`, `memory`, `logprobs`: the fields that say how tokens are chosen, who drafts, whose texts help, and
//!   what the target thinks
//! - `job`: what a request comes to, whichever route it took
//! - `answer`, `stream`, `events`: its texts at once, or as they are written, and where their tokens and milliseconds came
//!   from
//! - `completions`, `chat`, `models`, `health`, `metrics`, `page`: the routes
//! - `door`: who and what is let in
//! - `grpc`: `csd.v1.Cascade`, at the same port
//! - `failure`: failures to statuses and bodies, in one table

mod answer;
mod chat;
mod completions;
mod door;
mod events;
mod failure;
mod fields;
mod grpc;
mod health;
mod job;
mod logprobs;
mod memory;
mod metrics;
mod models;
mod page;
mod plan;
mod sampling;
mod stream;
mod trace;

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, Method, Uri},
    middleware,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
};

use crate::{Failure, Orchestrator, access::Access};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// All routes over one orchestrator. Those of the API itself ask for a key where there are any.
pub fn app(orchestrator: Arc<Orchestrator>, access: &Access) -> Router {
    let limit = orchestrator.body_bytes();
    let asked_for_keys = middleware::from_fn_with_state(access.keys.clone(), door::key);
    let api = Router::new()
        .route("/v1/completions", post(completions::create))
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::retrieve))
        .route_layer(middleware::from_fn_with_state(limit, door::size))
        .route_layer(asked_for_keys);
    let app = api
        .route("/health", get(health::report))
        .route("/metrics", get(metrics::report))
        .merge(page::routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(orchestrator.clone())
        .merge(grpc::routes(&orchestrator, access))
        .layer(DefaultBodyLimit::max(limit))
        .layer(middleware::from_fn_with_state(orchestrator, trace::request))
        .layer(CatchPanicLayer::custom(panicked));
    let app = match door::origins(&access.origins) {
        Some(origins) => app.layer(origins),
        None => app,
    };
    app.layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
}

async fn unknown_path(uri: Uri) -> Failure {
    Failure::UnknownPath(uri.path().to_owned())
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    Failure::Method {
        method: method.to_string(),
        path: uri.path().to_owned(),
    }
}

/// A bug, but one request's: the process lives on, and the caller learns no more than that.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request panicked; this is a bug");
    Failure::Internal("a bug; the server's log says more".into()).into_response()
}
