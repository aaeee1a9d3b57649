//! `GET /`: the page is whole, and allowed to do nothing that it need not do.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Request, header},
};

use crate::world::{Answer, World};

const SVG_NAMESPACE: &str = "http://www.w3.org/2000/svg";

fn text(answer: &Answer) -> &str {
    answer.body.as_str().expect("text, not JSON")
}

fn head<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers[name].to_str().expect("ascii")
}

/// What stands between `before` and the next quote, wherever `before` occurs.
fn quoted<'a>(text: &'a str, before: &str) -> BTreeSet<&'a str> {
    let rests = text.split(before).skip(1);
    rests.filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn the_page_may_load_its_own_files_and_nothing_else() {
    let answer = World::new().get("/").await;
    assert_eq!(answer.status, 200);
    assert_eq!(head(&answer, "content-type"), "text/html; charset=utf-8");
    assert_eq!(head(&answer, "x-content-type-options"), "nosniff");
    let policy = head(&answer, "content-security-policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    for loose in ["unsafe", "*", "http", "data:"] {
        assert!(!policy.contains(loose), "{loose} in {policy}");
    }
    for inline in ["<style", " style=", " onclick=", "<script>"] {
        assert!(
            !text(&answer).contains(inline),
            "{inline} breaks the policy"
        );
    }
}

#[tokio::test]
async fn every_file_that_the_page_asks_for_is_there() {
    let world = World::new();
    let page = world.get("/").await;
    let mut wanted: BTreeSet<String> = quoted(text(&page), "href=\"")
        .union(&quoted(text(&page), "src=\""))
        .filter(|path| !path.starts_with('#'))
        .map(|path| format!("/{path}"))
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(path) = wanted.pop_first() {
        let answer = world.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        let expected = match path.rsplit('.').next() {
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => panic!("{path} is of no known kind"),
        };
        assert_eq!(head(&answer, "content-type"), expected, "{path}");
        let text = text(&answer);
        assert!(!text.is_empty(), "{path}");
        let elsewhere = text.replace(SVG_NAMESPACE, "");
        assert!(!elsewhere.contains("://"), "{path} names another host");
        for id in quoted(text, "element(\"") {
            let there = format!("id=\"{id}\"");
            assert!(
                page.body.as_str().is_some_and(|page| page.contains(&there)),
                "{path}: {id}"
            );
        }
        seen.insert(path);
        let imports = quoted(text, "from \"./")
            .into_iter()
            .map(|file| format!("/page/{file}"));
        wanted.extend(imports.filter(|path| !seen.contains(path)));
    }
    assert!(seen.len() >= 8, "{seen:?}");
}

#[tokio::test]
async fn a_file_that_a_browser_has_is_not_sent_again() {
    let world = World::new();
    for path in ["/", "/page/page.js"] {
        let first = world.get(path).await;
        assert_eq!(head(&first, "cache-control"), "no-cache", "ask each time");
        let ask = |tag: &str| {
            let request = Request::get(path).header(header::IF_NONE_MATCH, tag);
            request.body(Body::empty()).expect("valid")
        };
        let again = world.read(ask(head(&first, "etag"))).await;
        assert_eq!(again.status, 304);
        assert_eq!(text(&again), "");
        let other = world.read(ask("\"0123456789abcdef\"")).await;
        assert_eq!(other.status, 200);
        assert_eq!(other.body, first.body);
    }
    assert_eq!(world.post("/", "{}").await.status, 405);
    assert_eq!(world.get("/page/").await.status, 404);
}
