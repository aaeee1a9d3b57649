//! Texts as they are written: server-sent events.
//!
//! The first round is awaited before the answer begins, so that what fails at once has its proper status. After that a
//! failure is one event with the error object, and the stream ends without `[DONE]`.

use std::{convert::Infallible, pin::Pin};

use axum::response::{
    IntoResponse as _, Response, Sse,
    sse::{Event, KeepAlive},
};
use futures_util::{
    Stream, StreamExt as _,
    stream::{self, SelectAll},
};
use serde_json::{Value, json};
use tracing::Span;

use super::{
    answer::{self, Answer},
    events, failure,
    job::{Form, Job},
    logprobs, plan,
};
use crate::{
    Failure,
    error::Result,
    generation::{Chunk, Generation},
};

const DONE: &str = "[DONE]";

/// The chunks of all texts as they come, each with the index of its text.
type Chunks = SelectAll<Pin<Box<dyn Stream<Item = (usize, Result<Chunk>)> + Send>>>;

pub(super) async fn respond(job: Job, generations: Vec<Generation>) -> Result<Response> {
    let answers = generations.iter().map(|_| Answer::default()).collect();
    let streams = generations.into_iter().enumerate().map(|(index, text)| {
        let chunks = text.into_stream().map(move |chunk| (index, chunk));
        Box::pin(chunks) as Pin<Box<dyn Stream<Item = _> + Send>>
    });
    let mut chunks: Chunks = stream::select_all(streams);
    let first = match chunks.next().await {
        Some((index, chunk)) => Some((index, Ok(chunk?))),
        None => None,
    };
    let writer = Writer {
        job,
        answers,
        span: Span::current(),
    };
    let all = stream::iter(first).chain(chunks);
    Ok(Sse::new(pieces(writer, all))
        .keep_alive(KeepAlive::default())
        .into_response())
}

/// Turns chunks into events, and keeps what the last ones have to say.
struct Writer {
    job: Job,
    answers: Vec<Answer>,
    span: Span,
}

fn pieces(
    writer: Writer,
    chunks: impl Stream<Item = (usize, Result<Chunk>)> + Send,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let open = Some((writer, Box::pin(chunks)));
    let events = stream::unfold(open, |open| async move {
        let (mut writer, mut chunks) = open?;
        match chunks.next().await {
            Some((index, Ok(chunk))) => {
                let events = writer.chunk(index, &chunk);
                Some((events, Some((writer, chunks))))
            }
            Some((_, Err(failure))) => Some((vec![writer.failure(&failure)], None)),
            None => Some((writer.end(), None)),
        }
    });
    events.flat_map(|events| stream::iter(events.into_iter().map(Ok)))
}

impl Writer {
    fn chunk(&mut self, index: usize, chunk: &Chunk) -> Vec<Event> {
        let first = self.answers[index].is_empty();
        self.answers[index].add(chunk);
        let mut events = Vec::new();
        if first && self.job.form == Form::Chat {
            let delta = json!({"role": "assistant", "content": ""});
            let choice =
                json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null});
            events.push(event(&self.body(vec![choice])));
        }
        let finish = chunk.finish.as_ref();
        let mut choice = json!({
            "index": index,
            "logprobs": null,
            "finish_reason": finish.map(|finish| finish.reason.as_str()),
        });
        let scored = self.answers[index].take_scored();
        if self.job.options.scored() {
            let text = self.job.orchestrator.text();
            choice["logprobs"] = logprobs::report(self.job.form, text, &scored);
        }
        match self.job.form {
            Form::Completion => choice["text"] = json!(chunk.text()),
            Form::Chat => choice["delta"] = json!({"content": chunk.text()}),
        }
        if self.job.options.token_ids {
            self.add_tokens(&mut choice, chunk);
        }
        if self.job.options.timed.is_some() {
            let tokens = chunk.tokens.iter().map(|written| &written.token);
            choice["events"] = events::report(&self.job.orchestrator, tokens, &chunk.calls);
        }
        let mut body = self.body(vec![choice]);
        if self.answers.iter().all(Answer::is_finished) {
            body["cascade"] = answer::report(&self.job, &self.answers);
            answer::trace(&self.span, &self.answers);
        }
        events.push(event(&body));
        events
    }

    /// The chunk's own tokens; who wrote each, and the text that came with it, lets a reader colour them.
    fn add_tokens(&self, choice: &mut Value, chunk: &Chunk) {
        let each = |of: &dyn Fn(&crate::generation::Written) -> Value| -> Value {
            chunk.tokens.iter().map(of).collect()
        };
        choice["token_ids"] = each(&|written| json!(written.token.id));
        choice["token_texts"] = each(&|written| json!(written.text));
        choice["token_authors"] = each(&|written| {
            json!(plan::level_name(
                &self.job.orchestrator,
                written.token.author
            ))
        });
    }

    fn failure(&self, failure: &Failure) -> Event {
        super::trace::failed(&self.job.orchestrator, &self.span, failure);
        event(&failure::body(failure))
    }

    fn end(&self) -> Vec<Event> {
        let mut events = Vec::new();
        if self.job.options.include_usage {
            let mut body = self.body(Vec::new());
            let cached = answer::cached(&self.job, &self.answers);
            body["usage"] = self.job.usage(answer::count(&self.answers), cached);
            events.push(event(&body));
        }
        events.push(Event::default().data(DONE));
        events
    }

    fn body(&self, choices: Vec<Value>) -> Value {
        let mut body = self.job.head();
        body["choices"] = Value::Array(choices);
        if self.job.options.include_usage {
            body["usage"] = Value::Null;
        }
        body
    }
}

/// JSON text has no line breaks of its own, as an event's data must not.
fn event(body: &Value) -> Event {
    Event::default().data(body.to_string())
}
