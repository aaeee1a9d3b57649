//! The life of one text: its turn, its rounds, its end.
//!
//! A [`Generation`] is polled round by round and does nothing in between; dropping it stops everything that is still
//! computed for it, at every level.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use csd_cascade::{Cascade, Drafting, Request, Session};
use csd_level::{Context, DraftToken, Error, Logprobs, Sampling, Statistics, Tenant, Token};
use csd_telemetry::names;
use futures_util::{Stream, stream};
use tracing::{Instrument as _, Span, field::Empty};

use crate::{
    Failure, NamedPlan, Orchestrator,
    admission::Place,
    counted::Counted,
    decoder::Decoder,
    echo::{self, Given},
    error::Result,
    random,
    readers::Readers,
    stop::Stops,
    timeline::{Recorder, TimedCall},
};

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Task {
    /// The text so far.
    pub prompt: Vec<Token>,
    /// How tokens are chosen, checked against the vocabulary ([`Sampling::validated`]).
    pub sampling: Sampling,
    /// Who drafts.
    pub plan: NamedPlan,
    /// Whose remembered texts may help with this one, and whom it may help.
    pub tenant: Option<Tenant>,
    /// Tokens to write unless the text ends before: at least 1, or 0 where the prompt alone is asked for.
    pub max_tokens: usize,
    /// Asks what the target thinks of each token, and for so many alternatives.
    pub logprobs: Option<usize>,
    /// Whether the prompt is given back first.
    pub echo: bool,
    /// Strings that end the text before themselves, none of them empty.
    pub stop: Vec<String>,
    /// Since when its calls are timed; nothing is recorded without.
    pub timed: Option<Instant>,
}

/// A token of the text, with the part of the text that became certain with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The token, its author and its reviewers in the cascade's numbering.
    pub token: DraftToken,
    /// Its text: not always its own, where a character or a stop string may be unfinished.
    pub text: String,
    /// What the target thinks of it, if the task asked.
    pub logprobs: Option<Logprobs>,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// By an end token or a stop string.
    Stop,
    /// All tokens asked for are written, or the context is full.
    Length,
}

impl Reason {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Stop, Self::Length];

    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// The end of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// Why.
    pub reason: Reason,
    /// Calls and reviews of all its rounds.
    pub statistics: Statistics,
    /// Tokens of the prompt that the target knew already.
    pub cached: usize,
}

/// What one round wrote, or the prompt given back before the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// The prompt's tokens, if the task asked for them; in the first chunk, and only there.
    pub prompt: Vec<Given>,
    /// At least one token, but for the chunk that gives the prompt back.
    pub tokens: Vec<Written>,
    /// The calls that ended since the last chunk, if the task asked for them.
    pub calls: Vec<TimedCall>,
    /// Present in the last chunk, and only there.
    pub finish: Option<Finish>,
}

impl Chunk {
    /// The text of all its tokens.
    pub fn text(&self) -> String {
        let given = self.prompt.iter().map(|given| given.text.as_str());
        let written = self.tokens.iter().map(|written| written.text.as_str());
        given.chain(written).collect()
    }
}

/// A text being written.
pub struct Generation {
    orchestrator: Arc<Orchestrator>,
    cascade: Arc<Cascade>,
    recorder: Option<Arc<Recorder>>,
    place: Place,
    request: Request,
    drafting: Drafting,
    readers: Readers,
    /// The drafters that may get a turn.
    levels: Vec<usize>,
    decoder: Decoder,
    stops: Stops,
    /// Tokens that may still be written.
    left: usize,
    /// Whether the prompt is still to be given back.
    echo: bool,
    /// Tokens of the prompt that the target knew at its first call.
    cached: Option<usize>,
    statistics: Statistics,
    rounds: u64,
    ended: bool,
    counted: Counted,
    span: Span,
}

impl Generation {
    pub(crate) fn new(orchestrator: Arc<Orchestrator>, place: Place, task: Task) -> Self {
        let recorder = task.timed.map(Recorder::new);
        let cascade = recorder.as_ref().map_or_else(
            || orchestrator.cascade().clone(),
            |recorder| Arc::new(recorder.watch(orchestrator.cascade())),
        );
        let left = (task.max_tokens).min(orchestrator.context() - task.prompt.len());
        // A single token is the target's own; nobody else needs to read the prompt for it.
        let levels = if left > 1 {
            task.plan.levels()
        } else {
            Vec::new()
        };
        let strategy = task.plan.strategy(task.sampling.temperature);
        let session = Session::new(random::bits(), cascade.levels().len());
        Self {
            readers: Readers::new(cascade.clone(), levels.clone(), |level| {
                orchestrator.is_statistical(level)
            }),
            levels,
            decoder: orchestrator.text().decoder(&task.prompt),
            stops: Stops::new(task.stop),
            request: Request {
                context: Context::new(task.prompt),
                sampling: Arc::new(task.sampling),
                logprobs: task.logprobs,
                tenant: task.tenant,
                session: Arc::new(session),
            },
            drafting: Drafting::new(strategy),
            counted: Counted::arrived(orchestrator.metrics().clone()),
            orchestrator,
            cascade,
            recorder,
            place,
            left,
            echo: task.echo,
            cached: None,
            statistics: Statistics::default(),
            rounds: 0,
            ended: false,
            span: Span::current(),
        }
    }

    /// Writes on for one round; nothing after the end or a failure.
    ///
    /// # Errors
    /// [`Failure`], mostly the target's. What was written before it is not the whole text.
    pub async fn next(&mut self) -> Option<Result<Chunk>> {
        if self.ended {
            return None;
        }
        let span = self.span.clone();
        let chunk = self.advance().instrument(span).await;
        self.ended = chunk.as_ref().map_or(true, |chunk| chunk.finish.is_some());
        if chunk.is_err() {
            self.counted.failed();
        }
        Some(chunk)
    }

    /// The rounds as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Chunk>> + Send {
        stream::unfold(self, |mut generation| async move {
            let chunk = generation.next().await?;
            Some((chunk, generation))
        })
    }

    async fn advance(&mut self) -> Result<Chunk> {
        self.place.turn().await?;
        self.counted.begins(self.request.context.len());
        // A level in this process may answer without ever waiting; readers and other texts need their turns all the same.
        tokio::task::yield_now().await;
        if std::mem::take(&mut self.echo) {
            return self.give_back().await;
        }
        self.read().await;
        let span = tracing::info_span!(
            names::ROUND_SPAN,
            { names::ROUND } = names::count(self.rounds),
            { names::CONTEXT_TOKENS } = names::count(self.request.context.len()),
            { names::DRAFT_TOKENS } = Empty,
            { names::ACCEPTED_TOKENS } = Empty,
            { names::AUTHORS } = Empty,
        );
        let round = self
            .cascade
            .round(&self.request, &mut self.drafting, self.left)
            .instrument(span.clone())
            .await
            .map_err(|error| self.failed(error))?;
        span.record(names::DRAFT_TOKENS, names::count(round.drafted));
        let authors = round.tokens.iter().map(|token| usize::from(token.author));
        let by_drafters = authors.clone().filter(|&author| author > 0);
        span.record(names::ACCEPTED_TOKENS, names::count(by_drafters.count()));
        let authors = authors.filter_map(|author| self.orchestrator.names().get(author));
        let authors: Vec<&str> = authors.map(String::as_str).collect();
        span.record(names::AUTHORS, authors.join(" "));
        self.rounds += 1;
        self.counted.round(&round.statistics);
        self.statistics.merge(&round.statistics, |level| level);
        self.cached.get_or_insert(round.timings.cached);
        Ok(self.write(round.tokens.into(), round.logprobs.into()))
    }

    /// Lets the drafters read what they have not; the first draft waits for them a little.
    async fn read(&mut self) {
        let (request, statistics) = (&mut self.request, &mut self.statistics);
        self.readers.refresh(request, statistics);
        if self.rounds > 0 {
            return;
        }
        let strategy = self.drafting.strategy();
        let waited = (self.readers)
            .wait(strategy.patience(), request, statistics)
            .await;
        if let Some((took, read)) = waited {
            strategy.waited(took, read);
        }
    }

    /// The prompt, and what the target thinks of it.
    async fn give_back(&mut self) -> Result<Chunk> {
        let tokens = self.request.context.tokens();
        let mut prompt = echo::given(self.orchestrator.text(), tokens);
        if self.request.logprobs.is_some() {
            let target = self.orchestrator.names()[0].as_str();
            let span = tracing::info_span!(
                names::PREFILL_SPAN,
                { names::OTEL_NAME } = names::prefill_by(target),
                { names::LEVEL } = target,
            );
            let known = echo::score(
                &self.cascade,
                &self.request,
                &mut prompt,
                &mut self.statistics,
            );
            let known = known.instrument(span).await;
            self.cached = Some(known.map_err(|error| self.failed(error))?);
        }
        let finish = (self.left == 0).then(|| self.finish(Reason::Length));
        Ok(Chunk {
            prompt,
            tokens: Vec::new(),
            calls: self.timed_calls(),
            finish,
        })
    }

    /// Only the target's failures end a text.
    fn failed(&self, error: Error) -> Failure {
        if error.is_transient() {
            let trouble = Some(error.to_string());
            self.orchestrator.watch().note(0, trouble);
        }
        Failure::at_level(&self.orchestrator.names()[0], error)
    }

    /// Takes a round's tokens up to the first that ends the text.
    fn write(
        &mut self,
        mut tokens: VecDeque<DraftToken>,
        mut logprobs: VecDeque<Logprobs>,
    ) -> Chunk {
        let mut chunk = Chunk {
            prompt: Vec::new(),
            tokens: Vec::with_capacity(tokens.len()),
            calls: self.timed_calls(),
            finish: None,
        };
        let mut reason = None;
        while let (None, Some(token)) = (reason, tokens.pop_front()) {
            self.left -= 1;
            self.request.context.extend([token.id]);
            let (text, end) = self.spell(token.id);
            chunk.tokens.push(Written {
                token,
                text,
                logprobs: logprobs.pop_front(),
            });
            reason = end;
        }
        self.counted
            .wrote(chunk.tokens.iter().map(|written| &written.token));
        chunk.finish = reason.map(|reason| self.finish(reason));
        chunk
    }

    fn finish(&mut self, reason: Reason) -> Finish {
        self.readers.collect(&mut self.statistics);
        self.counted.finished(reason);
        self.orchestrator.remember(&self.levels, &self.request);
        let prompt = self.request.context.prompt_len();
        Finish {
            reason,
            statistics: std::mem::take(&mut self.statistics),
            cached: self.cached.unwrap_or(0).min(prompt),
        }
    }

    /// The calls that have ended since the last chunk.
    fn timed_calls(&self) -> Vec<TimedCall> {
        let recorder = self.recorder.as_ref();
        recorder.map_or_else(Vec::new, |recorder| recorder.take())
    }

    /// The text that becomes certain with a token, and whether the text ends there.
    fn spell(&mut self, token: Token) -> (String, Option<Reason>) {
        let ends = self.request.sampling.is_end(token);
        let last = ends || self.left == 0;
        let mut piece = if ends {
            String::new()
        } else {
            self.decoder.push(token)
        };
        if last {
            piece.push_str(&self.decoder.finish());
        }
        let mut passed = self.stops.push(piece);
        if passed.stopped {
            return (passed.text, Some(Reason::Stop));
        }
        if !last {
            return (passed.text, None);
        }
        passed.text.push_str(&self.stops.finish());
        let reason = if ends { Reason::Stop } else { Reason::Length };
        (passed.text, Some(reason))
    }
}
