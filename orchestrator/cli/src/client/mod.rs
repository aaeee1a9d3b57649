//! A small HTTP client for the orchestrator's API: one plain connection a request, answers whole or as events.

mod sse;

use std::collections::VecDeque;

use anyhow::{Context, Result, anyhow, bail};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use self::sse::Events;

/// Where the orchestrator answers.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// `HOST:PORT`
    authority: String,
    /// A path that the API's paths follow, without a slash at its end.
    base: String,
    /// The value of an `Authorization` header, where the API asks for one.
    authorization: Option<HeaderValue>,
}

/// The data of each event of an answer, as they come.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Incoming,
    events: Events,
    ready: VecDeque<String>,
}

impl Client {
    /// A client of `url`: `http://HOST:PORT`, the scheme may be left out.
    ///
    /// # Errors
    /// It is no such URL.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let whole = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let uri: Uri = whole
            .parse()
            .with_context(|| format!("{url:?} is no URL; write http://HOST:PORT"))?;
        if uri.scheme_str() != Some("http") {
            bail!("{url:?}: only http:// is spoken; write http://HOST:PORT");
        }
        let host = uri
            .host()
            .with_context(|| format!("{url:?} names no host; write http://HOST:PORT"))?;
        let port = uri.port_u16().unwrap_or(80);
        let base = uri.path().trim_end_matches('/').trim_end_matches("/v1");
        Ok(Self {
            authority: format!("{host}:{port}"),
            base: base.to_owned(),
            authorization: None,
        })
    }

    /// The same with an API key.
    ///
    /// # Errors
    /// No header can carry it.
    pub(crate) fn with_key(self, key: &str) -> Result<Self> {
        let mut value = HeaderValue::from_str(&format!("Bearer {key}")).context("no API key")?;
        value.set_sensitive(true);
        Ok(Self {
            authorization: Some(value),
            ..self
        })
    }

    /// Where it asks, without the path.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// `GET path`: status and body.
    ///
    /// # Errors
    /// Nobody answers there, or not in HTTP.
    pub(crate) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes)> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        let status = response.status();
        let body = response.into_body().collect().await;
        Ok((status, body.with_context(|| self.broken())?.to_bytes()))
    }

    /// The levels' names, target first.
    ///
    /// # Errors
    /// Nobody answers there, or nobody who knows of levels.
    pub(crate) async fn levels(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Health {
            levels: Vec<Level>,
        }
        #[derive(Deserialize)]
        struct Level {
            name: String,
        }
        let (_, body) = self.get("/health").await?;
        let health: Health = serde_json::from_slice(&body)
            .with_context(|| format!("{} is no csd orchestrator", self.url()))?;
        Ok(health.levels.into_iter().map(|level| level.name).collect())
    }

    /// `POST path` with a JSON body; the answer is read event by event.
    ///
    /// # Errors
    /// Nobody answers there, or the request is refused: the error is the API's own message.
    pub(crate) async fn stream(&self, path: &str, body: &serde_json::Value) -> Result<Stream> {
        let body = Bytes::from(body.to_string());
        let response = self.send(Method::POST, path, body).await?;
        let status = response.status();
        if !status.is_success() {
            let body = response.into_body().collect().await;
            let body = body.with_context(|| self.broken())?.to_bytes();
            return Err(refusal(status, &body));
        }
        Ok(Stream {
            body: response.into_body(),
            events: Events::default(),
            ready: VecDeque::new(),
        })
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>> {
        let authority = &self.authority;
        let socket = TcpStream::connect(authority).await.with_context(|| {
            let url = self.url();
            format!("nobody answers at {url}; `csd up` starts a cascade")
        })?;
        socket.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .with_context(|| self.broken())?;
        // It ends when the answer has been read or dropped; what went wrong on it is seen by the reader.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::HOST, authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        if let Some(authorization) = &self.authorization {
            let headers = request.headers_mut();
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        sender
            .send_request(request)
            .await
            .with_context(|| self.broken())
    }

    fn broken(&self) -> String {
        format!("the connection to {} broke", self.url())
    }
}

impl Stream {
    /// The data of the next event; none at the end of the body.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn next(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    let frame = frame.context("the connection broke in the middle of the text")?;
                    if let Some(piece) = frame.data_ref() {
                        self.ready.extend(self.events.push(piece));
                    }
                }
            }
        }
    }
}

/// An error as the API writes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Failure {
    /// What is wrong.
    message: String,
    /// The field that is to blame.
    param: Option<String>,
}

impl From<Failure> for anyhow::Error {
    fn from(failure: Failure) -> Self {
        match failure.param {
            Some(field) if !failure.message.contains(&field) => {
                anyhow!("{field}: {}", failure.message)
            }
            _ => anyhow!(failure.message),
        }
    }
}

/// The error that a refused request becomes.
fn refusal(status: StatusCode, body: &[u8]) -> anyhow::Error {
    #[derive(Deserialize)]
    struct Body {
        error: Failure,
    }
    match serde_json::from_slice(body) {
        Ok(Body { error }) => anyhow::Error::from(error).context(format!("refused with {status}")),
        Err(_) => anyhow!(
            "refused with {status}: {}",
            String::from_utf8_lossy(body).trim()
        ),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request with `answer` and gives back what was asked.
    async fn server(answer: &'static str) -> (Client, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a client");
            let mut asked = vec![0; 4096];
            let length = socket.read(&mut asked).await.expect("a request");
            socket.write_all(answer.as_bytes()).await.expect("sent");
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        (
            Client::new(&format!("http://{address}/v1/")).expect("a URL"),
            asked,
        )
    }

    #[tokio::test]
    async fn a_stream_arrives_event_by_event() {
        let (client, asked) = server(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
             data: {\"a\":1}\n\ndata: [DONE]\n\n",
        )
        .await;
        let body = serde_json::json!({"prompt": "x"});
        let mut stream = client
            .stream("/v1/completions", &body)
            .await
            .expect("answered");
        assert_eq!(
            stream.next().await.expect("whole").as_deref(),
            Some("{\"a\":1}")
        );
        assert_eq!(
            stream.next().await.expect("whole").as_deref(),
            Some("[DONE]")
        );
        assert_eq!(stream.next().await.expect("whole"), None);
        let asked = asked.await.expect("a request");
        assert!(
            asked.starts_with("POST /v1/completions HTTP/1.1\r\n"),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn a_stream_that_breaks_is_an_error() {
        let (client, _) = server("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ndata: x\n\n").await;
        let mut stream = client
            .stream("/", &serde_json::Value::Null)
            .await
            .expect("answered");
        assert_eq!(stream.next().await.expect("sent").as_deref(), Some("x"));
        stream.next().await.expect_err("cut off");
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_words_of_the_api() {
        let body = r#"{"error":{"message":"must be at least 0","type":"invalid_request_error","param":"temperature","code":null}}"#;
        let error = refusal(StatusCode::BAD_REQUEST, body.as_bytes());
        let told = format!("{error:#}");
        assert_eq!(
            told,
            "refused with 400 Bad Request: temperature: must be at least 0"
        );
        let error = refusal(StatusCode::BAD_GATEWAY, b"oops\n");
        assert_eq!(format!("{error:#}"), "refused with 502 Bad Gateway: oops");
    }

    #[tokio::test]
    async fn nobody_there_is_said_with_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let client = Client::new(&address).expect("a URL");
        let error = client.get("/health").await.expect_err("nobody");
        assert!(error.to_string().contains("csd up"), "{error}");
    }

    #[test]
    fn odd_urls_are_refused() {
        for url in [
            "https://localhost:1",
            "http://",
            "not a url",
            "unix:///tmp/x",
        ] {
            assert!(Client::new(url).is_err(), "{url}");
        }
    }
}
