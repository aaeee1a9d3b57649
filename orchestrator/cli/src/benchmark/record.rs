//! A recording of what was measured, for `csd plan`: the target's own texts, what each drafter would have written along
//! them, and what everybody's calls cost.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use csd_config::{Cascade, Plan, Source};
use csd_forecast::trace::{self, Arm, Asked, Header, Kind, Trace, VERSION};
use csd_level::{Description, Level as _, Sampling};
use csd_transport::RemoteLevel;

use super::{
    account::{Account, Call},
    arm::TARGET_ALONE,
    costs::{around, calls_of, usual, usual_forwards},
    interval::Interval,
    probe,
    sample::{SEED, Task},
    server::Server,
    trial::Lane,
};

/// The host of levels that were started here.
const HERE: &str = "here";

/// What was measured, and on whom.
#[derive(Debug)]
pub(crate) struct Recorder<'a> {
    pub(crate) cascade: &'a Cascade,
    pub(crate) server: &'a Server,
    pub(crate) subject: &'a str,
    pub(crate) machine: &'a str,
    pub(crate) task: Task,
}

impl Recorder<'_> {
    /// Writes a recording of `lanes`, which wrote on from `prompts`.
    ///
    /// # Errors
    /// A level does not answer, the target did not write by itself, or the file cannot be written.
    pub(crate) async fn record(
        &self,
        file: &Path,
        prompts: &[String],
        lanes: &[Lane],
    ) -> Result<()> {
        let alone = lanes.iter().find(|lane| lane.arm.name == TARGET_ALONE);
        let alone =
            alone.context("--record: the target must write by itself; add target to --arm")?;
        let description = self.level(&self.cascade.levels[0].name)?.description();
        let sampling = Arc::new(self.sampling(&description));
        let tokenizer =
            csd_orchestrator::Text::load(&csd_orchestrator::Text::folder(self.cascade)?)?;
        let mut texts = Vec::with_capacity(prompts.len());
        for (prompt, sample) in prompts.iter().zip(&alone.samples) {
            texts.push(trace::Text {
                prompt: tokenizer.encode(prompt).map_err(anyhow::Error::msg)?,
                tokens: sample.ids.clone(),
                choices: BTreeMap::new(),
            });
        }
        // The recorded cascade is the first server.
        let lanes = || lanes.iter().filter(|lane| lane.arm.server == 0);
        let explained = || lanes().flat_map(|lane| &lane.explained);
        let mut levels = Vec::with_capacity(self.cascade.levels.len());
        for level in &self.cascade.levels {
            let calls = calls_of(&level.name, explained())?;
            levels.push(self.cost(level, &calls, &texts, &sampling).await?);
        }
        for level in levels
            .iter()
            .skip(1)
            .filter(|level| level.kind == Kind::Neural)
        {
            self.choices(&level.name, &mut texts, &sampling).await?;
        }
        let (text_ms, round_ms) = around(explained(), &self.cascade.levels[0].name)?;
        let trace = Trace {
            header: Header {
                version: VERSION,
                subject: self.subject.to_owned(),
                machine: self.machine.to_owned(),
                workload: self.task.workload.name().to_owned(),
                temperature: self.task.temperature as f32,
                max_tokens: self.task.max_tokens(),
                end_tokens: sampling.end_tokens.clone(),
                vocabulary: description.vocabulary,
                token_map: description.token_map.clone(),
                text_ms,
                round_ms,
                levels,
            },
            texts,
            arms: self.arms(lanes())?,
        };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(file, trace.write()?)
            .with_context(|| format!("cannot write to {}", file.display()))
    }

    /// A level that can be asked itself.
    fn level(&self, name: &str) -> Result<&RemoteLevel> {
        let mut workers = self.server.workers.iter();
        let level = workers.find(|(level, _)| level == name);
        Ok(&level
            .with_context(|| format!("level {name:?} cannot be asked itself"))?
            .1)
    }

    /// As the texts were drawn.
    fn sampling(&self, target: &Description) -> Sampling {
        let end_tokens = match self.task.workload.ignores_end() {
            true => Vec::new(),
            false => target.end_tokens.clone(),
        };
        Sampling {
            temperature: self.task.temperature as f32,
            seed: SEED,
            end_tokens,
            ..Sampling::default()
        }
    }

    /// What a level's calls cost: as it told while the texts were written, and for forwards that it had not then, by
    /// asking it now.
    async fn cost(
        &self,
        level: &csd_config::Level,
        calls: &[Call],
        texts: &[trace::Text],
        sampling: &Arc<Sampling>,
    ) -> Result<trace::Level> {
        let remote = self.level(&level.name)?;
        let description = remote.description();
        let usual = |of: fn(&Call) -> f64| usual(calls.iter().map(of)).unwrap_or(0.0);
        let (dtype, bigram, kind) = match &level.source {
            Source::Neural { bigram, .. } => (&*description.dtype, bigram, Kind::Neural),
            Source::MaxGram { bigram, .. } => ("", bigram, Kind::Statistical),
        };
        let mut forward_ms = Vec::new();
        if kind == Kind::Neural {
            // The longest text has drafts of all lengths.
            let longest = texts.iter().max_by_key(|text| text.tokens.len());
            let longest = longest.context("there is no text")?;
            let text = probe::Text {
                prompt: &longest.prompt,
                tokens: &longest.tokens,
                sampling,
            };
            forward_ms = usual_forwards(&text.forward_times(remote, u64::MAX).await?, calls.iter());
        }
        let bigram = bigram.as_ref().map(|path| {
            let whole = path.canonicalize();
            whole.with_context(|| path.display().to_string())
        });
        Ok(trace::Level {
            name: level.name.clone(),
            kind,
            host: level
                .addresses
                .first()
                .map_or(HERE, |address| host(address))
                .to_owned(),
            rows: description.rows,
            assisted: description.assisted,
            bigram: bigram.transpose()?,
            dtype: dtype.to_owned(),
            forward_ms,
            queue_ms: match kind {
                Kind::Neural => usual(|call| call.queue_ms),
                Kind::Statistical => usual(|call| call.queue_ms + call.forward_ms),
            },
            round_trip_ms: usual(Call::way_ms),
        })
    }

    /// Has a drafter say what it would have written.
    async fn choices(
        &self,
        level: &str,
        texts: &mut [trace::Text],
        sampling: &Arc<Sampling>,
    ) -> Result<()> {
        let remote = self.level(level)?;
        for (session, text) in (0..).zip(texts) {
            let asked = probe::Text {
                prompt: &text.prompt,
                tokens: &text.tokens,
                sampling,
            };
            let (choices, _) = asked.choices(remote, u64::MAX / 2 + session).await?;
            text.choices.insert(level.to_owned(), choices);
        }
        Ok(())
    }

    fn arms<'a>(&self, lanes: impl Iterator<Item = &'a Lane>) -> Result<Vec<Arm>> {
        let mut arms = Vec::new();
        for lane in lanes {
            let speed = Interval::of(lane.speeds.iter().copied());
            let spread = speed.and_then(|speed| Some((speed, speed.low?, speed.high?)));
            let (speed, low, high) =
                spread.context("--record: needs at least two prompts to score on")?;
            let account = Account::of(&lane.samples)?;
            let target = &self.cascade.levels[0].name;
            let per_call = account.and_then(|account| account.tokens_per_call(target));
            arms.push(Arm {
                name: lane.arm.name.clone(),
                plan: match &lane.arm.plan {
                    Some(plan) => serde_json::from_value(plan.clone())?,
                    None => asked(&self.cascade.plan),
                },
                tokens_per_second: speed.mean,
                low,
                high,
                tokens_per_call: per_call.context("the target was never called")?,
            });
        }
        Ok(arms)
    }
}

/// The file's plan as a request would ask for it.
fn asked(plan: &Plan) -> Asked {
    match plan {
        Plan::Off => Asked::Named("off".into()),
        Plan::Preset(name) => Asked::Named(name.clone()),
        Plan::Matrix {
            k,
            lenience,
            pipelined,
        } => Asked::Matrix {
            k: k.clone(),
            lenience: *lenience,
            pipelined: *pipelined,
        },
    }
}

/// The host of an address.
fn host(address: &str) -> &str {
    let bare = address.split_once("://").map_or(address, |(_, rest)| rest);
    bare.rsplit_once(':').map_or(bare, |(host, _)| host)
}
