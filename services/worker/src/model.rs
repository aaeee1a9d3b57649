//! A level out of settings: a model with a Max-Gram beside it, or Max-Gram alone.

use std::{path::Path, sync::Arc, time::Instant};

use csd_engine::{Engine, TokenMap};
use csd_level::{
    Assistant, BoxFuture, Call, Description, Draft, DraftRequest, Level, RememberRequest, Result,
    Timings, Verdict, VerifyRequest,
};
use csd_maxgram::{Bigrams, MaxGram, Sharing};
use csd_telemetry::metrics::{self, LevelReading};
use csd_transport::Gauges;

use crate::{Error, metrics::Watching, settings::LevelSource};

/// What a worker serves.
pub enum Model {
    /// A model, and perhaps a Max-Gram in the same process.
    Neural(NeuralLevel),
    /// Max-Gram alone.
    Statistical(Timed),
}

impl Model {
    /// Loads a level whose Max-Gram, if it has one, remembers as `memory` says. Takes as long as reading the weights does.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Bigrams`] and [`Error::UnreadableBigrams`], each naming the file.
    pub fn load(
        name: &str,
        source: LevelSource,
        memory: Option<Sharing>,
        metrics: Arc<metrics::Level>,
    ) -> Result<Self, Error> {
        match source {
            LevelSource::Neural {
                engine,
                assisted,
                bigram,
            } => {
                let engine = Engine::load_observed(engine, Watching(metrics))?;
                let memory = memory.filter(|_| assisted);
                let level = NeuralLevel::new(engine, assisted, bigram.as_deref(), memory)?;
                Ok(Self::Neural(level))
            }
            LevelSource::MaxGram { model, bigram } => {
                let map = TokenMap::load(&model)?;
                let settings = csd_maxgram::Settings {
                    sharing: memory,
                    ..csd_maxgram::Settings::default()
                };
                let level = max_gram(name, &map, bigram.as_deref(), settings)?;
                Ok(Self::Statistical(Timed(level)))
            }
        }
    }

    /// Whether it answers nothing any more, though the process lives.
    pub fn has_stopped(&self) -> bool {
        matches!(self, Self::Neural(level) if level.engine.has_stopped())
    }

    /// The level itself.
    pub fn level(&self) -> &dyn Level {
        match self {
            Self::Neural(level) => level,
            Self::Statistical(level) => level,
        }
    }

    /// Fills in what the transport cannot see.
    pub fn gauge(&self, gauges: &mut Gauges) {
        match self {
            Self::Neural(level) => {
                let engine = level.engine.gauges();
                gauges.forwards = engine.forwards;
                gauges.rows = engine.rows;
                gauges.queued = engine.queued as u64;
                gauges.cache_bytes = engine.cache_bytes as u64;
                gauges.overruns = engine.overruns;
            }
            Self::Statistical(level) => {
                let (_, bytes) = level.0.cached();
                gauges.cache_bytes = bytes as u64;
            }
        }
    }
}

impl Model {
    /// The Max-Gram in this process.
    fn max_gram(&self) -> Option<&MaxGram> {
        match self {
            Self::Neural(level) => level.assistant.as_ref().map(|assistant| &assistant.0),
            Self::Statistical(level) => Some(&level.0),
        }
    }

    /// What Prometheus is told: what the service counted, and what only the engine knows.
    pub(crate) fn reading(&self, gauges: Gauges) -> LevelReading {
        let mut reading = LevelReading {
            running: gauges.in_flight.saturating_sub(gauges.queued),
            waiting: gauges.queued,
            draft_calls: gauges.draft_calls,
            verify_calls: gauges.verify_calls,
            reviewed: gauges.drafted,
            accepted: gauges.accepted,
            cache_bytes: gauges.cache_bytes,
            ..LevelReading::default()
        };
        let remembered = self.max_gram().map(MaxGram::remembered);
        if let Some(remembered) = remembered {
            reading.memory_texts = remembered.texts as u64;
            reading.memory_bytes = remembered.bytes as u64;
            reading.memory_evictions = remembered.evicted;
            reading.memory_queries = remembered.asked;
            reading.memory_hits = remembered.found;
        }
        if let Self::Neural(level) = self {
            let engine = level.engine.gauges();
            let limit = level.engine.cache_limit().max(1);
            reading.cache_usage = engine.busy_bytes as f64 / limit as f64;
            reading.prefix_queries = engine.looked_up;
            reading.prefix_hits = engine.cached;
        }
        reading
    }
}

impl Level for Model {
    fn description(&self) -> Arc<Description> {
        self.level().description()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        Box::pin(async move {
            let begun = Instant::now();
            let mut draft = self.level().draft(request).await?;
            account(&mut draft.timings, begun);
            Ok(draft)
        })
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async move {
            let begun = Instant::now();
            let mut verdict = self.level().verify(request).await?;
            account(&mut verdict.timings, begun);
            Ok(verdict)
        })
    }

    fn remember(&self, request: RememberRequest) -> BoxFuture<'_, Result<()>> {
        self.level().remember(request)
    }
}

/// What a call took and was not computed for, it has waited: for the engine, or for a processor.
fn account(timings: &mut Timings, begun: Instant) {
    timings.queue = begun.elapsed().saturating_sub(timings.forward);
}

/// A model that runs a whole turn over its own Max-Gram inside one call.
pub struct NeuralLevel {
    description: Arc<Description>,
    engine: Engine,
    assistant: Option<Arc<Timed>>,
}

impl NeuralLevel {
    fn new(
        engine: Engine,
        assisted: bool,
        bigram: Option<&Path>,
        memory: Option<Sharing>,
    ) -> Result<Self, Error> {
        let mut description = (*engine.description()).clone();
        description.assisted = assisted;
        description.remembers = memory.is_some();
        let map = TokenMap {
            vocabulary: description.vocabulary,
            fingerprint: description.token_map.clone(),
        };
        let settings = csd_maxgram::Settings {
            context: description.context,
            sharing: memory,
            ..csd_maxgram::Settings::default()
        };
        let assistant = assisted.then(|| max_gram("maxgram", &map, bigram, settings));
        Ok(Self {
            description: Arc::new(description),
            engine,
            assistant: assistant
                .transpose()?
                .map(|assistant| Arc::new(Timed(assistant))),
        })
    }
}

impl Level for NeuralLevel {
    fn description(&self) -> Arc<Description> {
        self.description.clone()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        let assistant = self.assistant.clone();
        let assistant = assistant.map(|assistant| assistant as Arc<dyn Assistant>);
        Box::pin(self.engine.write(request, assistant))
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        self.engine.verify(request)
    }

    /// What its Max-Gram is told.
    fn remember(&self, request: RememberRequest) -> BoxFuture<'_, Result<()>> {
        match &self.assistant {
            Some(assistant) => assistant.remember(request),
            None => Box::pin(async { Ok(()) }),
        }
    }
}

/// Max-Gram with a watch: it is pure and knows no time, but what it computes is part of a call's.
#[derive(Debug)]
pub struct Timed(MaxGram);

impl Assistant for Timed {
    fn propose(&self, call: &Call, room: usize) -> Draft {
        let begun = Instant::now();
        let mut draft = self.0.propose(call, room);
        draft.timings.forward = begun.elapsed();
        draft
    }
}

impl Level for Timed {
    fn description(&self) -> Arc<Description> {
        self.0.description()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        Box::pin(async move {
            let begun = Instant::now();
            let mut draft = self.0.draft(request).await?;
            draft.timings.forward = begun.elapsed();
            Ok(draft)
        })
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        self.0.verify(request)
    }

    fn remember(&self, request: RememberRequest) -> BoxFuture<'_, Result<()>> {
        self.0.remember(request)
    }
}

fn max_gram(
    name: &str,
    map: &TokenMap,
    bigram: Option<&Path>,
    settings: csd_maxgram::Settings,
) -> Result<MaxGram, Error> {
    let wrong = |source| Error::Bigrams {
        path: bigram.unwrap_or(Path::new("")).to_owned(),
        source,
    };
    let bigrams = match bigram {
        None => Bigrams::default(),
        Some(path) => {
            let json = std::fs::read(path).map_err(|source| Error::UnreadableBigrams {
                path: path.to_owned(),
                source,
            })?;
            Bigrams::from_json(&json).map_err(wrong)?
        }
    };
    MaxGram::new(name, map.vocabulary, &map.fingerprint, bigrams, settings).map_err(wrong)
}
