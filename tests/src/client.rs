//! The API as a client sees it.

use std::{
    io::{BufRead as _, BufReader},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use ureq::{Body, http::Response};

/// Whoever answers at a URL.
pub struct Client {
    /// Where the API listens, e.g. `http://127.0.0.1:40001`.
    pub url: String,
    /// The API key that it brings, if any.
    pub key: Option<String>,
    agent: ureq::Agent,
}

impl Client {
    /// A client of the API at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)));
        Self {
            url: url.into(),
            key: None,
            agent: config.build().into(),
        }
    }

    /// POSTs a body and returns status and JSON.
    ///
    /// # Errors
    /// When there is no answer, or none in JSON.
    pub fn post(&self, path: &str, body: &str) -> Result<(u16, Value)> {
        let mut response = self.send(path, body)?;
        let status = response.status().as_u16();
        Ok((status, response.body_mut().read_json()?))
    }

    fn send(&self, path: &str, body: &str) -> Result<Response<Body>> {
        let request = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("content-type", "application/json");
        let request = match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        };
        Ok(request.send(body)?)
    }

    /// GETs a path and returns status and text.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call()?;
        Ok((
            response.status().as_u16(),
            response.body_mut().read_to_string()?,
        ))
    }

    /// POSTs a completion that must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn complete(&self, body: &Value) -> Result<Value> {
        let (status, value) = self.post("/v1/completions", &body.to_string())?;
        ensure!(status == 200, "{status}: {value}");
        Ok(value)
    }

    /// Streams a completion; `seen` is called with each event and its number and may disturb things.
    ///
    /// # Errors
    /// When the stream breaks off without a word.
    pub fn stream(&self, body: &Value, mut seen: impl FnMut(usize, &Value)) -> Result<Stream> {
        self.stream_while(body, |number, event| {
            seen(number, event);
            true
        })
    }

    /// Streams a completion, and leaves when `stays` says no.
    ///
    /// # Errors
    /// As [`Client::stream`].
    pub fn stream_while(
        &self,
        body: &Value,
        mut stays: impl FnMut(usize, &Value) -> bool,
    ) -> Result<Stream> {
        let mut body = body.clone();
        body["stream"] = json!(true);
        body["return_token_ids"] = json!(true);
        let response = self.send("/v1/completions", &body.to_string())?;
        ensure!(response.status() == 200, "{}", response.status());
        let mut stream = Stream::default();
        let started = Instant::now();
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line?;
            let Some(data) = line.strip_prefix("data: ") else {
                continue;
            };
            if data == "[DONE]" {
                stream.done = true;
                break;
            }
            let event: Value = serde_json::from_str(data)?;
            if !stays(stream.chunks, &event) {
                break;
            }
            stream.chunks += 1;
            stream.times.push(started.elapsed());
            if !event["error"].is_null() {
                stream.error = Some(event["error"].clone());
                continue;
            }
            let choice = &event["choices"][0];
            stream
                .text
                .push_str(choice["text"].as_str().unwrap_or_default());
            stream.token_ids.extend(ids(&choice["token_ids"]));
            if !event["cascade"].is_null() {
                stream.cascade = event["cascade"].clone();
            }
        }
        Ok(stream)
    }
}

/// A stream's whole yield.
#[derive(Debug, Default)]
pub struct Stream {
    /// All text.
    pub text: String,
    /// All token ids.
    pub token_ids: Vec<u32>,
    /// The cascade's report from the last chunk.
    pub cascade: Value,
    /// The error that ended it.
    pub error: Option<Value>,
    /// Whether it ended with `[DONE]`.
    pub done: bool,
    /// Events seen.
    pub chunks: usize,
    /// When each arrived.
    pub times: Vec<Duration>,
}

/// A JSON list of token ids.
pub fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .map(|id| id as u32)
        .collect()
}
