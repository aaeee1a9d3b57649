//! The bundled family as levels whose calls take time.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use csd_cascade::{
    Cascade, Limits,
    world::{Host, Price, Time, Timed},
};
use csd_engine::{Engine, Settings, Weights};
use csd_level::Level;
use csd_maxgram::{Bigrams, MaxGram};
use csd_tests::root;

use crate::{Args, remembered::Remembered};

/// Milliseconds to a level on the same host and back.
const NEAR: f64 = 0.05;

/// The bundled family.
pub(crate) struct Family {
    models: Vec<Arc<Remembered>>,
    max_gram: Arc<MaxGram>,
}

impl Family {
    pub(crate) fn load(rows: usize) -> Result<Self> {
        let folder = root().join("models/tiny");
        let load = |name: &str| {
            let settings = Settings {
                weights: Weights::Q8_0,
                rows: Some(rows),
                ..Settings::new(name, folder.join(name))
            };
            let engine = Engine::load(settings)?;
            let mut description = (*engine.description()).clone();
            description.assisted = name != "target";
            anyhow::Ok(Arc::new(Remembered::new(engine, description)))
        };
        let models: Vec<_> = ["target", "draft", "mini"]
            .into_iter()
            .map(load)
            .collect::<Result<_>>()?;
        let bigrams = Bigrams::from_json(&std::fs::read(folder.join("bigram.json"))?)?;
        let target = models[0].description();
        let settings = csd_maxgram::Settings::default();
        let max_gram = MaxGram::new(
            "maxgram",
            target.vocabulary,
            &target.token_map,
            bigrams,
            settings,
        )?;
        Ok(Self {
            models,
            max_gram: Arc::new(max_gram),
        })
    }

    pub(crate) fn cascade(
        &self,
        time: &Time,
        args: &Args,
        round_trip: f64,
    ) -> Result<Arc<Cascade>> {
        let price = |ms, link| Price::ms(ms, args.rows, link);
        let host = Host::default();
        let models = self.models.iter().zip(&args.forward);
        let mut levels: Vec<Arc<dyn Level>> = Vec::new();
        for (model, &ms) in models {
            let drafts = model.description().assisted;
            let link = if drafts || !args.near_target {
                round_trip
            } else {
                NEAR
            };
            let measured = !drafts && !args.staircase.is_empty();
            let forwards = match measured {
                true => Price::staircase(&args.staircase, link),
                false => price(ms, link),
            };
            let level = Timed::new(model.clone(), forwards, time);
            let level = match args.one_host {
                true => level.on(&host),
                false => level,
            };
            levels.push(match drafts {
                true => Arc::new(level.assisted(self.max_gram.clone())),
                false => Arc::new(level),
            });
        }
        levels.push(Arc::new(Timed::new(
            self.max_gram.clone(),
            price(0.0, round_trip),
            time,
        )));
        let limits = Limits {
            draft_timeout: Duration::MAX,
            verify_timeout: Duration::MAX,
        };
        let cascade = Cascade::new(levels, limits, Arc::new(time.clone()))?;
        Ok(Arc::new(cascade))
    }
}
