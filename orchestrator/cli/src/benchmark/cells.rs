//! One cell of a run: some texts, so many at once, written by every arm in turn.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use csd_config::Cascade;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::{
    arm::{Arm, Family, Kind, TARGET_ALONE},
    record::Recorder,
    sample::Task,
    score::{Cell, Conditions},
    server::Server,
    trial::{Lane, Trial, compare},
};
use crate::output;

/// Texts of each arm that are written once more with their calls timed, which costs time. A recording has all of them.
const EXPLAINED: usize = 6;

/// The cascade that a run is about; a run over peers alone has none.
#[derive(Default)]
pub(crate) struct Subject {
    pub(crate) cascade: Option<Cascade>,
    /// Parameters of each level.
    pub(crate) parameters: BTreeMap<String, f64>,
}

/// What all cells of a run have in common.
pub(crate) struct Comparison<'a> {
    /// Whoever answers.
    pub(crate) servers: &'a [Server],
    pub(crate) subject: &'a Subject,
    /// What the run is about, and on which machine, in words.
    pub(crate) title: &'a str,
    pub(crate) machine: &'a str,
    /// The ways to write a text that are wanted; none for all of them.
    pub(crate) arms: &'a [Kind],
    /// Plans beside those.
    pub(crate) plans: &'a [Value],
    /// Whether to measure what remembered texts are worth.
    pub(crate) memory: bool,
    /// Where to record what was measured.
    pub(crate) record: Option<&'a Path>,
}

impl Comparison<'_> {
    /// Tunes on every other prompt, races on the rest, explains.
    pub(crate) async fn cell(
        &self,
        task: Task,
        concurrency: usize,
        prompts: &[String],
    ) -> Result<Cell> {
        let half = |rest| {
            prompts
                .iter()
                .skip(rest)
                .step_by(2)
                .cloned()
                .collect::<Vec<_>>()
        };
        let (tuning, scored) = (half(0), half(1));
        let bar = ProgressBar::new(0);
        bar.set_style(ProgressStyle::with_template(
            "{bar:40} {pos}/{len} texts, {eta} left: {msg}",
        )?);
        let trial = Trial {
            servers: self.servers,
            task,
            concurrency,
            bar: &bar,
        };
        let families = self.families();
        ensure!(!families.is_empty(), "there is nothing to compare");
        let explained = match self.record {
            Some(_) => scored.len(),
            None => scored.chunks(concurrency).len().min(EXPLAINED),
        };
        let texts = families
            .iter()
            .map(|family| trial.tuning(family, tuning.len()));
        bar.set_length(texts.sum::<u64>() + (families.len() * (scored.len() + explained)) as u64);

        let (mut arms, mut differences) = (Vec::new(), Vec::new());
        for family in families {
            bar.set_message(format!("tuning {}", family.name));
            arms.push(trial.tune(family, &tuning, &mut differences).await?);
        }
        bar.set_message(format!(
            "{}, temperature {}, {concurrency} at once",
            task.workload.name(),
            task.temperature
        ));
        let lanes = trial.race(arms, &scored, explained).await?;
        differences.extend(compare(&lanes, &scored));
        let mut gains = Vec::new();
        for Lane { arm, .. } in lanes.iter().filter(|lane| self.learns_from_texts(lane)) {
            bar.inc_length((tuning.len() + 4 * scored.len()) as u64);
            bar.set_message(format!("{}, with memory and without", arm.name));
            gains.extend(trial.gains(arm, &tuning, &scored, &mut differences).await?);
        }
        bar.finish_and_clear();
        self.record(task, &scored, &lanes).await?;
        let conditions = Conditions {
            task,
            concurrency,
            tuned_on: tuning.len(),
            scored_on: scored.len(),
            servers: self.servers,
            parameters: &self.subject.parameters,
        };
        conditions.cell(&lanes, differences, gains)
    }

    /// Everybody who is compared: every way that each csd server can go, and each peer as it is.
    fn families(&self) -> Vec<Family> {
        let wanted = Kind::value_variants().iter();
        let wanted: Vec<Kind> = wanted
            .copied()
            .filter(|kind| self.arms.is_empty() || self.arms.contains(kind))
            .collect();
        let mut families = Vec::new();
        for (index, server) in self.servers.iter().enumerate() {
            if server.cascade.is_none() {
                families.push(Family::single(server.name.clone(), index, None));
                continue;
            }
            families.extend(wanted.iter().filter_map(|kind| kind.family(index, server)));
            let plans = self.plans.iter();
            families.extend(
                plans.map(|plan| Family::single("given".into(), index, Some(plan.clone()))),
            );
        }
        families
    }

    /// Whether memory may help an arm, and is to be measured. Alone, a target asks nobody.
    fn learns_from_texts(&self, lane: &Lane) -> bool {
        let Arm { name, server, .. } = &lane.arm;
        self.memory && self.servers[*server].remembers() && !name.starts_with(TARGET_ALONE)
    }

    /// Writes down what was measured, if that is wanted.
    async fn record(&self, task: Task, scored: &[String], lanes: &[Lane]) -> Result<()> {
        if let (Some(file), Some(cascade), Some(server)) =
            (self.record, &self.subject.cascade, self.servers.first())
        {
            let recorder = Recorder {
                cascade,
                server,
                subject: self.title,
                machine: self.machine,
                task,
            };
            recorder.record(file, scored, lanes).await?;
            output::line(format_args!("\nrecorded in {}", file.display()))?;
        }
        Ok(())
    }
}
