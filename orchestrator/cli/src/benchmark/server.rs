//! Whoever is measured: a csd orchestrator, or any other server with an OpenAI-compatible API.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use csd_transport::{ClientTls, Gauges, RemoteLevel, RemoteOptions};
use serde::{Deserialize, Serialize};

use crate::{client::Client, door};

/// A server that has been asked what it is.
#[derive(Debug)]
pub(crate) struct Server {
    /// What the tables call it; empty for the cascade that the run is about.
    pub(crate) name: String,
    pub(crate) client: Client,
    /// The model to ask for.
    pub(crate) model: String,
    /// What a csd orchestrator says of itself; none from a peer.
    pub(crate) cascade: Option<Cascade>,
    /// The rows of the target's forward that cost little more than one, where it is known: no draft is longer.
    pub(crate) rows: Option<usize>,
    /// The hardware that levels pretend to run on, by level.
    pub(crate) emulation: BTreeMap<String, String>,
    /// Levels that can be asked for their counters, by name.
    pub(crate) workers: Vec<(String, RemoteLevel)>,
}

/// A csd orchestrator's levels and plans.
#[derive(Debug, Deserialize)]
pub(crate) struct Cascade {
    /// Target first.
    pub(crate) levels: Vec<Level>,
    /// Names of plans.
    pub(crate) plans: Vec<String>,
}

/// One of its levels.
#[derive(Debug, Deserialize)]
pub(crate) struct Level {
    pub(crate) name: String,
    kind: String,
    #[serde(default)]
    remembers: bool,
}

/// `GET /v1/models`
#[derive(Debug, Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Debug, Deserialize)]
struct Model {
    id: String,
    cascade: Option<Cascade>,
}

impl Level {
    /// Whether it is Max-Gram.
    pub(crate) fn is_statistical(&self) -> bool {
        self.kind == "statistical"
    }
}

impl Server {
    /// Asks a server what it offers, with a key of the environment's. `workers` are the addresses of its levels where they
    /// are known, and how those at `https://` are reached.
    ///
    /// # Errors
    /// Nobody answers, or nobody who has a model.
    pub(crate) async fn meet(
        name: &str,
        url: &str,
        workers: &BTreeMap<String, String>,
        tls: Option<&ClientTls>,
    ) -> Result<Self> {
        let mut client = Client::new(url)?;
        if let Some(key) = door::first_key() {
            client = client.with_key(&key)?;
        }
        let (status, body) = client.get("/v1/models").await?;
        let models: Models = serde_json::from_slice(&body)
            .with_context(|| format!("{url}/v1/models answers {status} and no list of models"))?;
        let model = models.data.into_iter().next();
        let model = model.with_context(|| format!("{url} offers no model"))?;
        let mut server = Self {
            name: name.to_owned(),
            client,
            model: model.id,
            cascade: model.cascade,
            rows: None,
            emulation: BTreeMap::new(),
            workers: Vec::new(),
        };
        for (level, address) in workers {
            server
                .ask(level, address, tls)
                .await
                .with_context(|| level.clone())?;
        }
        Ok(server)
    }

    /// Asks a level what it is.
    async fn ask(&mut self, name: &str, address: &str, tls: Option<&ClientTls>) -> Result<()> {
        let options = RemoteOptions {
            tls: tls.cloned(),
            ..RemoteOptions::default()
        };
        let level = RemoteLevel::connect(address, options).await?;
        let description = level.probe().await?;
        if self.target() == Some(name) {
            self.rows = Some(description.rows);
        }
        if let Some(emulation) = description.emulation {
            self.emulation.insert(name.to_owned(), emulation);
        }
        self.workers.push((name.to_owned(), level));
        Ok(())
    }

    /// The target's name, where there is a cascade.
    pub(crate) fn target(&self) -> Option<&str> {
        let target = self.cascade.as_ref()?.levels.first()?;
        Some(&target.name)
    }

    /// Whether any level remembers texts.
    pub(crate) fn remembers(&self) -> bool {
        let levels = self.cascade.iter().flat_map(|cascade| &cascade.levels);
        levels.into_iter().any(|level| level.remembers)
    }

    /// Forwards of all levels so far, and how many of them overran the hardware that is emulated.
    ///
    /// # Errors
    /// A level does not answer.
    pub(crate) async fn forwards(&self) -> Result<Forwards> {
        let mut sum = Forwards::default();
        for (name, level) in &self.workers {
            let gauges: Gauges = level.gauges().await.with_context(|| name.clone())?;
            sum.all += gauges.forwards;
            sum.overruns += gauges.overruns;
        }
        Ok(sum)
    }
}

/// Counters of forwards.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Forwards {
    pub(crate) all: u64,
    pub(crate) overruns: u64,
}

impl Forwards {
    /// Adds those between two readings.
    pub(crate) fn add(&mut self, before: Self, after: Self) {
        self.all += after.all - before.all;
        self.overruns += after.overruns - before.overruns;
    }

    /// Whether so many overran that times mean nothing: more than one in a hundred.
    pub(crate) fn are_void(self) -> bool {
        self.overruns * 100 > self.all
    }
}
