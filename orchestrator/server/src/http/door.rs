//! Who and what is let in: API keys, sizes, and what browsers are told about pages of other origins.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::{Method, header},
    middleware::Next,
    response::Response,
};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::REQUEST_ID;
use crate::{
    Failure,
    access::{Keys, Origins},
    error::Result,
};

/// How long a browser may remember what it was told.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Asks for a key, and notes whose it is.
pub(super) async fn key(
    State(keys): State<Keys>,
    mut request: Request,
    next: Next,
) -> Result<Response> {
    let header = request.headers().get(header::AUTHORIZATION);
    let Some(tenant) = keys.admit(header.map(|value| value.as_bytes())) else {
        return Err(Failure::Unauthorized {
            sent: header.is_some(),
        });
    };
    request.extensions_mut().insert(tenant);
    Ok(next.run(request).await)
}

/// Turns a body away that says it is larger than `limit` bytes, before any of it is read.
pub(super) async fn size(
    State(limit): State<usize>,
    request: Request,
    next: Next,
) -> Result<Response> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(Failure::TooLarge { limit });
    }
    Ok(next.run(request).await)
}

/// Lets pages of other origins in; none where none is named.
pub(super) fn origins(origins: &Origins) -> Option<CorsLayer> {
    let allowed = match origins {
        Origins::Own => return None,
        Origins::Listed(listed) => AllowOrigin::list(listed.clone()),
        Origins::Any => AllowOrigin::any(),
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        // Clients bring headers of their own, and `*` would not cover Authorization.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([REQUEST_ID, header::RETRY_AFTER])
        .max_age(REMEMBERED);
    Some(layer)
}
