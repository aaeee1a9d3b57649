//! A level out of settings: a model with a Max-Gram beside it, or Max-Gram alone.

use std::{path::Path, sync::Arc};

use csd_engine::{Engine, TokenMap};
use csd_level::{
    BoxFuture, Description, Draft, DraftRequest, Level, Result, Verdict, VerifyRequest,
};
use csd_maxgram::{Bigrams, MaxGram};
use csd_transport::Gauges;

use crate::{Error, settings::LevelSource};

/// What a worker serves.
pub enum Model {
    /// A model, and perhaps a Max-Gram in the same process.
    Neural(NeuralLevel),
    /// Max-Gram alone.
    Statistical(MaxGram),
}

impl Model {
    /// Loads a level. Takes as long as reading the weights does.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Bigrams`] and [`Error::UnreadableBigrams`], each naming the file.
    pub fn load(name: &str, source: LevelSource) -> Result<Self, Error> {
        match source {
            LevelSource::Neural {
                engine,
                assisted,
                bigram,
            } => {
                let engine = Engine::load(engine)?;
                let level = NeuralLevel::new(engine, assisted, bigram.as_deref())?;
                Ok(Self::Neural(level))
            }
            LevelSource::MaxGram { model, bigram } => {
                let map = TokenMap::load(&model)?;
                let settings = csd_maxgram::Settings::default();
                let level = max_gram(name, &map, bigram.as_deref(), settings)?;
                Ok(Self::Statistical(level))
            }
        }
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
                let (_, bytes) = level.cached();
                gauges.cache_bytes = bytes as u64;
            }
        }
    }
}

impl Level for Model {
    fn description(&self) -> Arc<Description> {
        self.level().description()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        self.level().draft(request)
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        self.level().verify(request)
    }
}

/// A model that runs a whole turn over its own Max-Gram inside one call.
pub struct NeuralLevel {
    description: Arc<Description>,
    engine: Engine,
    assistant: Option<MaxGram>,
}

impl NeuralLevel {
    fn new(engine: Engine, assisted: bool, bigram: Option<&Path>) -> Result<Self, Error> {
        let mut description = (*engine.description()).clone();
        description.assisted = assisted;
        let map = TokenMap {
            vocabulary: description.vocabulary,
            fingerprint: description.token_map.clone(),
        };
        let settings = csd_maxgram::Settings {
            context: description.context,
            ..csd_maxgram::Settings::default()
        };
        let assistant = assisted.then(|| max_gram("maxgram", &map, bigram, settings));
        Ok(Self {
            description: Arc::new(description),
            engine,
            assistant: assistant.transpose()?,
        })
    }
}

impl Level for NeuralLevel {
    fn description(&self) -> Arc<Description> {
        self.description.clone()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        match &self.assistant {
            Some(assistant) if request.assist > 0 => Box::pin(csd_cascade::assisted::draft(
                &self.engine,
                assistant,
                request,
            )),
            _ => self.engine.draft(request),
        }
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        self.engine.verify(request)
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
