//! All texts of a request, at once.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use csd_level::{DraftToken, Logprobs, Statistics, Token};
use csd_telemetry::names;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tracing::Span;

use super::{
    events,
    job::{Form, Job},
    logprobs::{self, Scored},
    plan,
};
use crate::{
    Failure,
    error::Result,
    generation::{Chunk, Finish, Generation},
    timeline::TimedCall,
};

/// What has been written of one text.
#[derive(Default)]
pub(super) struct Answer {
    text: String,
    tokens: Vec<DraftToken>,
    calls: Vec<TimedCall>,
    /// Its tokens, the prompt's before them where that is given back, until somebody takes them.
    scored: Vec<Scored>,
    /// Characters so far.
    characters: usize,
    finish: Option<Finish>,
}

impl Answer {
    pub(super) fn add(&mut self, chunk: &Chunk) {
        for given in &chunk.prompt {
            self.push(given.token, &given.text, given.logprobs.clone());
        }
        for written in &chunk.tokens {
            self.push(written.token.id, &written.text, written.logprobs.clone());
            self.tokens.push(written.token.clone());
        }
        self.calls.extend_from_slice(&chunk.calls);
        self.finish.clone_from(&chunk.finish);
    }

    fn push(&mut self, token: Token, text: &str, logprobs: Option<Logprobs>) {
        self.scored.push(Scored {
            token,
            offset: self.characters,
            logprobs,
        });
        self.characters += text.chars().count();
        self.text.push_str(text);
    }

    /// What has come since this was asked last.
    pub(super) fn take_scored(&mut self) -> Vec<Scored> {
        std::mem::take(&mut self.scored)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    fn reason(&self) -> Option<&'static str> {
        self.finish.as_ref().map(|finish| finish.reason.as_str())
    }
}

/// Calls, reviews and authors of all texts; the authors in the order of the texts.
pub(super) fn report(job: &Job, answers: &[Answer]) -> Value {
    let mut statistics = Statistics::default();
    for finish in answers.iter().filter_map(|answer| answer.finish.as_ref()) {
        statistics.merge(&finish.statistics, |level| level);
    }
    let tokens = answers.iter().flat_map(|answer| &answer.tokens);
    let authors = tokens.map(|token| token.author);
    plan::report(
        &job.orchestrator,
        job.options.plan(),
        &statistics,
        authors.collect(),
    )
}

/// Tokens of all texts.
pub(super) fn count(answers: &[Answer]) -> usize {
    answers.iter().map(|answer| answer.tokens.len()).sum()
}

/// Tokens of the prompts that the target knew already: of each prompt, as its first text found it.
pub(super) fn cached(job: &Job, answers: &[Answer]) -> usize {
    let firsts = answers.iter().step_by(job.options.choices());
    let finish = firsts.filter_map(|answer| answer.finish.as_ref());
    finish.map(|finish| finish.cached).sum()
}

/// Notes in the request's span what came out.
pub(super) fn trace(span: &Span, answers: &[Answer]) {
    let reasons: Vec<&str> = answers.iter().filter_map(Answer::reason).collect();
    span.record(names::GEN_AI_OUTPUT_TOKENS, names::count(count(answers)));
    span.record(names::GEN_AI_RESPONSE_FINISH_REASONS, reasons.join(","));
}

pub(super) async fn respond(job: Job, generations: Vec<Generation>) -> Result<Response> {
    let answers = try_join_all(generations.into_iter().map(collect)).await?;
    trace(&Span::current(), &answers);
    let choice = |(index, answer): (usize, &Answer)| {
        let mut choice = json!({
            "index": index,
            "logprobs": null,
            "finish_reason": answer.reason(),
        });
        if job.options.scored() {
            let text = job.orchestrator.text();
            choice["logprobs"] = logprobs::report(job.form, text, &answer.scored);
        }
        match job.form {
            Form::Completion => choice["text"] = json!(answer.text),
            Form::Chat => {
                choice["message"] = json!({"role": "assistant", "content": answer.text});
            }
        }
        if job.options.token_ids {
            let ids = answer.tokens.iter().map(|token| token.id);
            choice["token_ids"] = ids.collect();
        }
        if job.options.timed.is_some() {
            let (tokens, calls) = (answer.tokens.iter(), &answer.calls);
            choice["events"] = events::report(&job.orchestrator, tokens, calls);
        }
        choice
    };
    let mut body = job.head();
    body["choices"] = answers.iter().enumerate().map(choice).collect();
    body["usage"] = job.usage(count(&answers), cached(&job, &answers));
    body["cascade"] = report(&job, &answers);
    Ok(Json(body).into_response())
}

async fn collect(mut generation: Generation) -> Result<Answer> {
    let mut answer = Answer::default();
    while let Some(chunk) = generation.next().await {
        answer.add(&chunk?);
    }
    if !answer.is_finished() {
        return Err(Failure::Internal("a text has no end".into()));
    }
    Ok(answer)
}
