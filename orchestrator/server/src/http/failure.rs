//! Failures to statuses and bodies.
//!
//! | failure                     | status | type                    |
//! |-----------------------------|--------|-------------------------|
//! | malformed, invalid, unsupported, context length | 400 | `invalid_request_error` |
//! | no or a wrong API key       | 401    | `invalid_request_error` |
//! | unknown model, unknown path | 404    | `invalid_request_error` |
//! | method                      | 405    | `invalid_request_error` |
//! | too slow                    | 408    | `invalid_request_error` |
//! | too large                   | 413    | `invalid_request_error` |
//! | media type                  | 415    | `invalid_request_error` |
//! | busy                        | 429    | `rate_limit_error`      |
//! | unavailable                 | 503    | `service_unavailable`   |
//! | internal                    | 500    | `server_error`          |

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::Failure;

/// What clients are told to wait for a level to come back, in seconds.
const COMES_BACK: u64 = 1;

/// Status, type and code.
fn row(failure: &Failure) -> (StatusCode, &'static str, &'static str) {
    const REQUEST: &str = "invalid_request_error";
    match failure {
        Failure::Invalid { .. } => (StatusCode::BAD_REQUEST, REQUEST, "invalid_value"),
        Failure::Unsupported { .. } => (StatusCode::BAD_REQUEST, REQUEST, "unsupported_parameter"),
        Failure::Malformed(_) => (StatusCode::BAD_REQUEST, REQUEST, "malformed_body"),
        Failure::ContextLength { .. } => {
            (StatusCode::BAD_REQUEST, REQUEST, "context_length_exceeded")
        }
        Failure::UnknownModel { .. } => (StatusCode::NOT_FOUND, REQUEST, "model_not_found"),
        Failure::UnknownPath(_) => (StatusCode::NOT_FOUND, REQUEST, "not_found"),
        Failure::Method { .. } => (
            StatusCode::METHOD_NOT_ALLOWED,
            REQUEST,
            "method_not_allowed",
        ),
        Failure::Unauthorized { .. } => (StatusCode::UNAUTHORIZED, REQUEST, "invalid_api_key"),
        Failure::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, REQUEST, "body_too_large"),
        Failure::TooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, REQUEST, "request_timeout"),
        Failure::MediaType(_) => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            REQUEST,
            "unsupported_media_type",
        ),
        Failure::Busy { .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limit_error",
            "too_many_requests",
        ),
        Failure::Unavailable { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            "level_unavailable",
        ),
        Failure::Internal(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "internal_error",
        ),
    }
}

/// The field at fault, if there is one.
fn param(failure: &Failure) -> Option<&str> {
    match failure {
        Failure::Invalid { param, .. } | Failure::Unsupported { param, .. } => Some(param),
        Failure::ContextLength { .. } => Some("prompt"),
        Failure::UnknownModel { .. } => Some("model"),
        _ => None,
    }
}

/// The error object, alone as a body or in the middle of a stream.
pub(super) fn body(failure: &Failure) -> Value {
    let (_, kind, code) = row(failure);
    json!({"error": {
        "message": failure.to_string(),
        "type": kind,
        "param": param(failure),
        "code": code,
    }})
}

/// What a failure would be answered with, or was too late to be.
pub(super) fn status(failure: &Failure) -> StatusCode {
    row(failure).0
}

/// What a failure is called in traces.
pub(super) fn code(failure: &Failure) -> &'static str {
    row(failure).2
}

/// Whether the request was turned away before all of its body was read.
fn body_unread(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Unauthorized { .. }
            | Failure::UnknownPath(_)
            | Failure::Method { .. }
            | Failure::TooLarge { .. }
            | Failure::TooSlow { .. }
            | Failure::MediaType(_)
    )
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, ..) = row(&self);
        let mut response = (status, Json(body(&self))).into_response();
        let seconds = match &self {
            Self::Busy { retry_after } => Some(retry_after.as_secs().max(1)),
            Self::Unavailable { .. } => Some(COMES_BACK),
            _ => None,
        };
        if let Self::Unauthorized { .. } = self {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        if body_unread(&self) {
            // The server closes such a connection; a client that was not told would send its next request there.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if let Some(seconds) = seconds {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
