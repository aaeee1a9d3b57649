//! `GET /`: the page that shows the cascade. It lies in `src/page`, is part of the binary, and asks nobody else for anything.

use std::sync::Arc;

use axum::{
    Router,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse as _, Response},
    routing::get,
};

use crate::Orchestrator;

/// Nothing but the page's own files and this server's own API; nobody may put it into a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One file of the page.
#[derive(Clone, Copy)]
struct Asset {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

/// A file of `src/page` and where it is served.
macro_rules! asset {
    ($path:literal, $kind:expr, $file:literal) => {
        Asset {
            path: $path,
            kind: $kind,
            text: include_str!(concat!("../page/", $file)),
        }
    };
}

const ASSETS: [Asset; 11] = [
    asset!("/", HTML, "index.html"),
    asset!("/page/page.css", CSS, "page.css"),
    asset!("/page/charts.css", CSS, "charts.css"),
    asset!("/page/icon.svg", SVG, "icon.svg"),
    asset!("/page/page.js", SCRIPT, "page.js"),
    asset!("/page/request.js", SCRIPT, "request.js"),
    asset!("/page/form.js", SCRIPT, "form.js"),
    asset!("/page/text.js", SCRIPT, "text.js"),
    asset!("/page/lanes.js", SCRIPT, "lanes.js"),
    asset!("/page/acceptance.js", SCRIPT, "acceptance.js"),
    asset!("/page/race.js", SCRIPT, "race.js"),
];

pub(super) fn routes() -> Router<Arc<Orchestrator>> {
    ASSETS.into_iter().fold(Router::new(), |router, asset| {
        let answer = move |headers: HeaderMap| async move { serve(asset, &headers) };
        router.route(asset.path, get(answer))
    })
}

/// Browsers keep a file and ask each time whether it is still the same: after an update nobody sees half a page.
fn serve(asset: Asset, asked: &HeaderMap) -> Response {
    let tag = format!("\"{:016x}\"", fingerprint(asset.text));
    let known = asked.get(IF_NONE_MATCH).map(HeaderValue::as_bytes);
    let mut response = if known == Some(tag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        asset.text.into_response()
    };
    let fixed: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, asset.kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// FNV-1a: tells versions of a file apart, guards against nobody.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
