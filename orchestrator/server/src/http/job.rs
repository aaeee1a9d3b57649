//! What a request comes to, whichever route it took.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use axum::response::Response;
use csd_level::{Sampling, Tenant, Token};
use csd_telemetry::names;
use serde_json::{Value, json};
use tracing::Span;

use super::{answer, fields::Fields, memory, plan, sampling, stream};
use crate::{
    Failure, NamedPlan, Orchestrator, error::Result, generation::Generation, generation::Task,
    random,
};

/// Texts of one request; a guard against nonsense, admission is the real bound.
const CHOICES: u64 = 128;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `/v1/completions`
    Completion,
    /// `/v1/chat/completions`
    Chat,
}

/// What each route has fields of its own for.
pub(super) struct Shape {
    /// Tokens to write; absent: as many as fit.
    pub(super) max_tokens: Option<usize>,
    /// What the target thinks of each token, with so many alternatives.
    pub(super) logprobs: Option<usize>,
    /// Whether the prompt is given back.
    pub(super) echo: bool,
}

/// The fields that all routes share, checked.
pub(super) struct Options {
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) token_ids: bool,
    /// When the request began, if it wants to know where its time went.
    pub(super) timed: Option<Instant>,
    choices: usize,
    shape: Shape,
    sampling: Sampling,
    plan: NamedPlan,
    /// Whose texts this one shares with.
    tenant: Option<Tenant>,
    stop: Vec<String>,
}

/// A request that is ready to run.
pub(super) struct Job {
    pub(super) orchestrator: Arc<Orchestrator>,
    pub(super) form: Form,
    pub(super) options: Options,
    pub(super) id: String,
    pub(super) created: u64,
    prompts: Vec<Vec<Token>>,
}

impl Options {
    /// Takes the shared fields, in a tenant's name, and refuses all others.
    pub(super) fn parse(
        mut fields: Fields,
        shape: Shape,
        tenant: Option<Tenant>,
        orchestrator: &Orchestrator,
    ) -> Result<Self> {
        if let Some(asked) = fields.text("model")?
            && asked != orchestrator.model()
        {
            return Err(Failure::UnknownModel {
                asked,
                offered: orchestrator.model().to_owned(),
            });
        }
        let stream = fields.boolean("stream")?.unwrap_or(false);
        let options = Self {
            include_usage: include_usage(&mut fields, stream)?,
            stream,
            token_ids: fields.boolean("return_token_ids")?.unwrap_or(false),
            timed: (fields.boolean("cascade_events")?)
                .unwrap_or(false)
                .then(Instant::now),
            choices: fields.count("n", 1, CHOICES)?.unwrap_or(1),
            sampling: sampling::parse(&mut fields, orchestrator)?,
            shape,
            plan: plan::parse(&mut fields, orchestrator)?,
            tenant: memory::parse(&mut fields, tenant)?,
            stop: sampling::stops(&mut fields)?,
        };
        fields.finish()?;
        let (least, most) = (options.sampling.min_tokens, options.shape.max_tokens);
        if most.is_some_and(|most| least as usize > most) {
            let reason = format!("{least} are more than the tokens asked for");
            return Err(Failure::invalid("min_tokens", reason));
        }
        Ok(options)
    }

    /// Whether log-probabilities are answered.
    pub(super) fn scored(&self) -> bool {
        self.shape.logprobs.is_some()
    }

    pub(super) fn choices(&self) -> usize {
        self.choices
    }

    pub(super) fn plan(&self) -> &NamedPlan {
        &self.plan
    }
}

fn include_usage(fields: &mut Fields, stream: bool) -> Result<bool> {
    match fields.take("stream_options") {
        None => Ok(false),
        Some(_) if !stream => Err(Failure::invalid(
            "stream_options",
            "only allowed together with \"stream\": true",
        )),
        Some(Value::Object(values)) => {
            let mut fields = Fields::within("stream_options.", values);
            let include = fields.boolean("include_usage")?.unwrap_or(false);
            fields.finish()?;
            Ok(include)
        }
        Some(_) => Err(Failure::invalid("stream_options", "must be an object")),
    }
}

impl Job {
    pub(super) fn new(
        orchestrator: Arc<Orchestrator>,
        form: Form,
        prompts: Vec<Vec<Token>>,
        options: Options,
    ) -> Self {
        let prefix = match form {
            Form::Completion => "cmpl",
            Form::Chat => "chatcmpl",
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            id: format!("{prefix}-{:016x}{:016x}", random::bits(), random::bits()),
            created: now.map_or(0, |since| since.as_secs()),
            orchestrator,
            form,
            options,
            prompts,
        }
    }

    /// Writes the texts and answers with them.
    pub(super) async fn run(self) -> Result<Response> {
        self.describe(&Span::current());
        let generations = self.begin()?;
        if self.options.stream {
            stream::respond(self, generations).await
        } else {
            answer::respond(self, generations).await
        }
    }

    /// Tokens of all prompts; choices of one prompt share it.
    pub(super) fn prompt_tokens(&self) -> usize {
        self.prompts.iter().map(Vec::len).sum()
    }

    /// The fields that every answer and every chunk begins with.
    pub(super) fn head(&self) -> Value {
        let object = match (self.form, self.options.stream) {
            (Form::Completion, _) => "text_completion",
            (Form::Chat, false) => "chat.completion",
            (Form::Chat, true) => "chat.completion.chunk",
        };
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.orchestrator.model(),
        })
    }

    /// `cached_tokens` of the prompts were known to the target.
    pub(super) fn usage(&self, completion_tokens: usize, cached_tokens: usize) -> Value {
        let prompt_tokens = self.prompt_tokens();
        json!({
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": cached_tokens},
        })
    }

    /// Choice i of prompt j is text j·n + i.
    pub(super) fn begin(&self) -> Result<Vec<Generation>> {
        let options = &self.options;
        let mut tasks = Vec::new();
        for (j, prompt) in self.prompts.iter().enumerate() {
            // Before it is copied: it may be as long as a body.
            self.orchestrator.check(prompt)?;
            for i in 0..options.choices {
                tasks.push(Task {
                    prompt: prompt.clone(),
                    sampling: Sampling {
                        seed: random::derived(options.sampling.seed, j, i),
                        ..options.sampling.clone()
                    },
                    plan: options.plan.clone(),
                    tenant: options.tenant,
                    max_tokens: options.shape.max_tokens.unwrap_or(usize::MAX),
                    logprobs: options.shape.logprobs,
                    echo: options.shape.echo,
                    stop: options.stop.clone(),
                    timed: options.timed,
                });
            }
        }
        self.orchestrator.begin(tasks)
    }

    /// Says in a span what is asked for.
    pub(super) fn describe(&self, span: &Span) {
        let options = &self.options;
        let operation = match self.form {
            Form::Completion => "text_completion",
            Form::Chat => "chat",
        };
        span.record(names::GEN_AI_OPERATION, operation);
        span.record(names::GEN_AI_PROVIDER, "csd");
        span.record(names::GEN_AI_REQUEST_MODEL, self.orchestrator.model());
        span.record(names::GEN_AI_RESPONSE_ID, self.id.as_str());
        span.record(
            names::GEN_AI_INPUT_TOKENS,
            names::count(self.prompt_tokens()),
        );
        if let Some(max_tokens) = options.shape.max_tokens {
            span.record(names::GEN_AI_REQUEST_MAX_TOKENS, names::count(max_tokens));
        }
        let temperature = f64::from(options.sampling.temperature);
        span.record(names::GEN_AI_REQUEST_TEMPERATURE, temperature);
        span.record(names::GEN_AI_REQUEST_SEED, options.sampling.seed);
        span.record(names::PLAN, options.plan.to_json().to_string());
    }
}
