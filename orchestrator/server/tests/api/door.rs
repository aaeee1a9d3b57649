//! Who is let in.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use csd_orchestrator::access::{Access, Keys, Origins};
use serde_json::json;

use crate::world::{Answer, World, post};

fn keyed() -> World {
    World::new().behind(&Access {
        keys: Keys::parse("sk-one\nsk-two").expect("keys"),
        ..Access::default()
    })
}

async fn ask(world: &World, authorization: Option<&str>) -> Answer {
    let mut request = post("/v1/completions", json!({"prompt": "a", "max_tokens": 1}));
    if let Some(value) = authorization {
        let value = value.parse().expect("a header");
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    world.read(request).await
}

#[tokio::test]
async fn the_api_opens_to_each_of_the_keys_and_says_what_is_missing() {
    let world = keyed();
    for key in ["Bearer sk-one", "Bearer sk-two"] {
        assert_eq!(ask(&world, Some(key)).await.status, StatusCode::OK);
    }
    for (wrong, message) in [
        (None, "is needed"),
        (Some("Bearer sk-three"), "not one of"),
        (Some("Basic c2stb25l"), "not one of"),
    ] {
        let answer = ask(&world, wrong).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong:?}");
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
        let error = &answer.body["error"];
        assert_eq!(
            (&error["code"], &error["param"]),
            (&json!("invalid_api_key"), &json!(null))
        );
        let said = error["message"].as_str().expect("a text");
        assert!(said.contains(message) && !said.contains("sk-"), "{said}");
    }
    assert_eq!(
        world.get("/v1/models").await.status,
        StatusCode::UNAUTHORIZED
    );
    // The page and the probes of others bring no key.
    for open in ["/health", "/"] {
        assert_eq!(world.get(open).await.status, StatusCode::OK, "{open}");
    }
}

#[tokio::test]
async fn without_keys_any_header_is_let_in() {
    let world = World::new();
    for header in [None, Some("Bearer anything"), Some("nonsense")] {
        assert_eq!(ask(&world, header).await.status, StatusCode::OK);
    }
}

fn preflight(origin: &str) -> Request<Body> {
    Request::builder()
        .method(Method::OPTIONS)
        .uri("/v1/chat/completions")
        .header(header::ORIGIN, origin)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            "authorization,content-type,x-stainless-os",
        )
        .body(Body::empty())
        .expect("valid")
}

#[tokio::test]
async fn pages_of_other_origins_are_let_in_where_named() {
    let here = "https://app.example";
    let world = World::new().behind(&Access {
        keys: Keys::parse("sk-one").expect("a key"),
        origins: Origins::parse([here]).expect("an origin"),
    });
    // A browser asks before it sends the key.
    let answer = world.read(preflight(here)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], here);
    let allowed = answer.headers[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str();
    assert!(allowed.expect("ascii").contains("x-stainless-os"));
    let stranger = world.read(preflight("https://else.example")).await;
    assert!(
        !stranger
            .headers
            .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    );

    // A refusal can be read, too.
    let mut request = post("/v1/completions", json!({}));
    let origin = here.parse().expect("a header");
    request.headers_mut().insert(header::ORIGIN, origin);
    let refused = world.read(request).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], here);
    let exposed = refused.headers[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str();
    assert!(exposed.expect("ascii").contains("x-request-id"));

    let own = World::new().read(preflight(here)).await;
    assert!(
        !own.headers
            .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    );
}
