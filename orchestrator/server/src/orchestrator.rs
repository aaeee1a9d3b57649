//! What every request shares.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use csd_cascade::{Cascade, Planner, Request};
use csd_level::{Kind, Level, Token};
use csd_telemetry::metrics::Texts;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use crate::{
    Failure, NamedPlan, SetupError,
    admission::Admission,
    clock::SinceStart,
    error::Result,
    generation::{Generation, Reason, Task},
    template::Template,
    text::Text,
    watch::Watch,
};

/// What an orchestrator is made of.
pub struct Parts {
    /// The id under which the model is offered.
    pub model: String,
    /// The levels by name, target first.
    pub levels: Vec<(String, Arc<dyn Level>)>,
    /// The tokenizer that all levels share.
    pub text: Text,
    /// The target's chat template, if it has one.
    pub template: Option<Template>,
    /// The plan of requests that bring none.
    pub plan: csd_config::Plan,
    /// Deadlines and bounds.
    pub limits: csd_config::Limits,
}

/// A cascade that is ready to write, and who may use it.
pub struct Orchestrator {
    model: String,
    created: u64,
    names: Vec<String>,
    cascade: Arc<Cascade>,
    text: Arc<Text>,
    template: Option<Template>,
    planner: Arc<Planner>,
    plan: NamedPlan,
    admission: Admission,
    /// Places for telling levels of texts that have ended.
    telling: Arc<Semaphore>,
    body_bytes: usize,
    watch: Watch,
    /// Whether it is about to end.
    leaving: AtomicBool,
    metrics: Arc<Texts>,
}

impl Orchestrator {
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`SetupError`] when the levels do not fit each other, or the plan does not fit the levels.
    pub fn new(parts: Parts) -> Result<Self, SetupError> {
        let (names, levels): (Vec<_>, Vec<_>) = parts.levels.into_iter().unzip();
        let limits = csd_cascade::Limits {
            draft_timeout: parts.limits.draft_timeout,
            verify_timeout: parts.limits.verify_timeout,
        };
        let cascade = Arc::new(Cascade::new(levels, limits, Arc::new(SinceStart::new()))?);
        let (tokenizer, target) = (
            parts.text.vocabulary(),
            cascade.levels()[0].description().vocabulary,
        );
        if tokenizer > target {
            return Err(SetupError::Tokenizer { tokenizer, target });
        }
        let planner = Arc::new(Planner::new(cascade.levels().len()));
        let plan = NamedPlan::configured(&parts.plan, &planner).map_err(SetupError::Plan)?;
        let created = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            model: parts.model,
            created: created.map_or(0, |since| since.as_secs()),
            watch: Watch::new(names.len()),
            leaving: AtomicBool::new(false),
            metrics: Arc::new(Texts::new(&names, &Reason::ALL.map(Reason::as_str))),
            names,
            cascade,
            text: Arc::new(parts.text),
            template: parts.template,
            planner,
            plan,
            admission: Admission::new(
                parts.limits.concurrent_requests,
                parts.limits.waiting_requests,
            ),
            telling: Arc::new(Semaphore::new(
                parts.limits.concurrent_requests.min(Semaphore::MAX_PERMITS),
            )),
            body_bytes: parts.limits.body_bytes,
        })
    }

    /// Whether texts can be written: the target is up, and the server is here to stay.
    pub fn is_serving(&self) -> bool {
        !self.is_leaving() && self.cascade.gates()[0].is_open()
    }

    /// Whether the server is about to end.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// The server is about to end: those who ask for its health hear so.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// The id under which the model is offered.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// When this server started, in seconds since 1970.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// The levels' names, target first.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The levels and their gates.
    pub fn cascade(&self) -> &Arc<Cascade> {
        &self.cascade
    }

    /// The tokenizer.
    pub fn text(&self) -> &Arc<Text> {
        &self.text
    }

    /// The target's chat template.
    pub fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    /// What is learnt about the levels.
    pub fn planner(&self) -> &Arc<Planner> {
        &self.planner
    }

    /// The plan of requests that bring none.
    pub fn plan(&self) -> &NamedPlan {
        &self.plan
    }

    /// Who may write.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The largest request body in bytes.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Why levels are down.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// What has been counted of all texts.
    pub fn metrics(&self) -> &Arc<Texts> {
        &self.metrics
    }

    /// Real token ids of this cascade: 0 to this, exclusive.
    pub fn vocabulary(&self) -> usize {
        self.cascade.levels()[0].description().vocabulary
    }

    /// Positions of the target.
    pub fn context(&self) -> usize {
        self.cascade.levels()[0].description().context
    }

    /// Tokens that the target ends a text with, ascending.
    pub fn end_tokens(&self) -> Vec<Token> {
        let mut tokens = self.cascade.levels()[0].description().end_tokens.clone();
        tokens.sort_unstable();
        tokens
    }

    /// Whether a level, by its place in the cascade, is statistical.
    pub(crate) fn is_statistical(&self, level: usize) -> bool {
        self.cascade.levels()[level].description().kind == Kind::Statistical
    }

    /// The token ids of a text, off the runtime's threads when it is long.
    ///
    /// # Errors
    /// [`Failure::Invalid`] for `prompt` when the tokenizer refuses it.
    pub async fn encode(&self, text: String) -> Result<Vec<Token>> {
        const SHORT: usize = 8 << 10;
        let refused = |reason: String| Failure::invalid("prompt", reason);
        if text.len() <= SHORT {
            return self.text.encode(&text).map_err(refused);
        }
        let tokenizer = self.text.clone();
        let encoded = tokio::task::spawn_blocking(move || tokenizer.encode(&text)).await;
        encoded
            .map_err(|error| Failure::Internal(error.to_string()))?
            .map_err(refused)
    }

    /// Checks a prompt: at least one token, all of them known, and room for an answer.
    ///
    /// # Errors
    /// [`Failure::Invalid`] for `prompt`, or [`Failure::ContextLength`].
    pub fn check(&self, prompt: &[Token]) -> Result<()> {
        let (vocabulary, context) = (self.vocabulary(), self.context());
        if prompt.is_empty() {
            let reason = "has no token; a text needs something to continue";
            return Err(Failure::invalid("prompt", reason));
        }
        if let Some(id) = prompt.iter().find(|&&id| id as usize >= vocabulary) {
            let reason = format!("token id {id} is outside the vocabulary of {vocabulary}");
            return Err(Failure::invalid("prompt", reason));
        }
        if prompt.len() >= context {
            return Err(Failure::ContextLength {
                len: prompt.len(),
                limit: context,
            });
        }
        Ok(())
    }

    /// Tells those of these levels that remember texts of one that has ended. Nobody waits for that, and where levels take
    /// too long to be told, a text is forgotten.
    pub(crate) fn remember(&self, levels: &[usize], request: &Request) {
        if request.tenant.is_none() || request.context.generated().is_empty() {
            return;
        }
        let remembers =
            |&level: &usize| self.cascade.remembers(level) && self.cascade.gates()[level].is_open();
        for level in levels.iter().copied().filter(remembers) {
            let Ok(place) = self.telling.clone().try_acquire_owned() else {
                return;
            };
            let (cascade, request) = (self.cascade.clone(), request.clone());
            let tell = async move {
                if let Err(error) = cascade.remember(level, &request).await {
                    tracing::debug!(%error, "a level does not remember a text");
                }
                drop(place);
            };
            tokio::spawn(tell.in_current_span());
        }
    }

    /// Begins texts, all or none. Nothing is computed before they are polled.
    ///
    /// # Errors
    /// [`Failure::Busy`] when the server is full, [`Failure::Unavailable`] when the target is down, and those of
    /// [`Orchestrator::check`].
    pub fn begin(self: &Arc<Self>, tasks: Vec<Task>) -> Result<Vec<Generation>> {
        for task in &tasks {
            self.check(&task.prompt)?;
        }
        if !self.cascade.gates()[0].is_open() {
            return Err(Failure::Unavailable {
                level: self.names[0].clone(),
                reason: self.watch.trouble(0),
            });
        }
        let places = self.admission.admit(tasks.len())?;
        let generations = places.into_iter().zip(tasks);
        Ok(generations
            .map(|(place, task)| Generation::new(self.clone(), place, task))
            .collect())
    }
}
