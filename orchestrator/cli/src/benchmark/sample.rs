//! One text, asked for and timed.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{arm::Arm, server::Server, workload::Workload};
use crate::completion::Completion;

/// The seed of all texts.
pub(crate) const SEED: u64 = 1;

/// How texts are to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) workload: Workload,
    pub(crate) temperature: f64,
    /// Tokens at most, where it is not the workload's own number.
    pub(crate) max_tokens: Option<usize>,
}

/// A text that was written.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Tokens, as the server counts them.
    pub(crate) tokens: usize,
    /// Between the request and the last event that is part of the text.
    pub(crate) seconds: f64,
    /// Its token ids, from a server that tells them.
    pub(crate) ids: Vec<u32>,
    /// The text.
    pub(crate) text: String,
    /// What the cascade says of it.
    pub(crate) cascade: Option<Value>,
    /// The timed calls of all levels, if they were asked for.
    pub(crate) calls: Vec<Value>,
}

/// The parts of an event that a completion does not keep.
#[derive(Debug, Deserialize)]
struct Extra {
    usage: Option<Usage>,
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    completion_tokens: usize,
}

#[derive(Debug, Deserialize)]
struct Choice {
    events: Option<Events>,
}

#[derive(Debug, Deserialize)]
struct Events {
    calls: Vec<Value>,
}

impl Task {
    /// Tokens of a text at most.
    pub(crate) fn max_tokens(&self) -> usize {
        self.max_tokens.unwrap_or(self.workload.max_tokens())
    }

    /// Has an arm write on from a prompt.
    ///
    /// # Errors
    /// The server refuses, breaks off, or does not say how many tokens it wrote.
    pub(crate) async fn write(&self, server: &Server, arm: &Arm, prompt: &str) -> Result<Sample> {
        self.ask(server, self.request(server, arm, prompt)).await
    }

    /// The same, with the calls of all levels timed.
    ///
    /// # Errors
    /// As [`Task::write`].
    pub(crate) async fn explain(&self, server: &Server, arm: &Arm, prompt: &str) -> Result<Sample> {
        let mut request = self.request(server, arm, prompt);
        request["cascade_events"] = json!(true);
        self.ask(server, request).await
    }

    /// Has everybody read a prompt: a few tokens by the server's own plan, which nobody remembers.
    ///
    /// # Errors
    /// As [`Task::write`].
    pub(crate) async fn read(&self, server: &Server, arm: &Arm, prompt: &str) -> Result<()> {
        let plain = Arm {
            plan: None,
            memory: None,
            ..arm.clone()
        };
        let mut request = self.request(server, &plain, prompt);
        request["max_tokens"] = json!(4);
        self.ask(server, request).await.map(drop)
    }

    fn request(&self, server: &Server, arm: &Arm, prompt: &str) -> Value {
        let mut request = json!({
            "model": server.model,
            "prompt": prompt,
            "max_tokens": self.max_tokens(),
            "temperature": self.temperature,
            "seed": SEED,
            "ignore_eos": self.workload.ignores_end(),
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        if server.cascade.is_some() {
            request["return_token_ids"] = json!(true);
        }
        if server.remembers() {
            request["cascade_memory"] = match &arm.memory {
                Some(part) => json!(part),
                None => json!(false),
            };
        }
        if let Some(plan) = &arm.plan {
            request["cascade"] = plan.clone();
        }
        request
    }

    async fn ask(&self, server: &Server, request: Value) -> Result<Sample> {
        let begun = Instant::now();
        let mut stream = server.client.stream("/v1/completions", &request).await?;
        // What an event holds is looked at when the text is complete: reading it must not cost time that is measured.
        let mut events = Vec::new();
        loop {
            match stream.next().await?.as_deref() {
                None => bail!("{} broke off in the middle of a text", server.client.url()),
                Some("[DONE]") => break,
                Some(data) => events.push((begun.elapsed(), data.to_owned())),
            }
        }
        let mut completion = Completion::default();
        let (mut last, mut usage, mut calls) = (None, None, Vec::new());
        for (at, data) in events {
            completion.push(&data)?;
            let extra: Extra = serde_json::from_str(&data)?;
            // Every event with a choice counts: the text of a special token is empty.
            if !extra.choices.is_empty() {
                last = Some(at);
            }
            usage = extra.usage.or(usage);
            let events = extra.choices.into_iter().filter_map(|choice| choice.events);
            calls.extend(events.flat_map(|events| events.calls));
        }
        let last = last.context("an empty text; nothing can be measured on it")?;
        let tokens = usage
            .context("the server does not say how many tokens it wrote (`usage`)")?
            .completion_tokens;
        ensure!(tokens > 0, "the server says that it wrote no token");
        Ok(Sample {
            tokens,
            seconds: last.as_secs_f64(),
            ids: completion.token_ids,
            text: completion.text,
            cascade: completion.cascade,
            calls,
        })
    }
}
