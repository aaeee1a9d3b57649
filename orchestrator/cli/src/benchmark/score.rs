//! What a run found out, as it is written to JSON.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::{
    account::{Account, Times},
    arm::{TARGET_ALONE, TWO_MODEL},
    interval::Interval,
    memory::Gain,
    sample::Task,
    server::{Forwards, Server},
    summary::Summary,
    trial::{Difference, Lane},
};

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// The version of csd.
    pub(crate) version: &'static str,
    /// What was compared.
    pub(crate) subject: String,
    /// The processor.
    pub(crate) machine: String,
    /// The hardware that levels pretended to run on, by level: then no time here is a measure of this machine.
    pub(crate) emulation: BTreeMap<String, String>,
    pub(crate) cells: Vec<Cell>,
    /// Each arm over all cells.
    pub(crate) summaries: Vec<Summary>,
}

/// All arms under the same conditions.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) workload: &'static str,
    pub(crate) temperature: f64,
    /// Texts at once.
    pub(crate) concurrency: usize,
    /// Prompts that settings were tuned on.
    pub(crate) tuned_on: usize,
    /// Other prompts, that the arms were scored on.
    pub(crate) scored_on: usize,
    /// Texts that are not the target's own. There must be none.
    pub(crate) differences: Vec<Difference>,
    pub(crate) arms: Vec<Score>,
    /// What remembered texts are worth, if that was asked for.
    pub(crate) memory: Vec<Gain>,
}

/// One arm.
#[derive(Debug, Serialize)]
pub(crate) struct Score {
    pub(crate) name: String,
    /// The request's `cascade`.
    pub(crate) plan: Option<Value>,
    /// The plan in short.
    pub(crate) shown: String,
    /// Tokens per second of a wave of texts.
    pub(crate) speed: Option<Interval>,
    /// Times as fast as the target alone.
    pub(crate) to_target: Option<Interval>,
    /// Times as fast as the best two-model speculation.
    pub(crate) to_two_model: Option<Interval>,
    pub(crate) tokens: usize,
    /// Forwards of all levels, and how many took longer than on the hardware that is emulated.
    pub(crate) forwards: Forwards,
    /// Texts equal to the target's own, character by character. A peer computes with other roundings.
    pub(crate) same_texts: Option<usize>,
    pub(crate) tokens_per_call: Option<f64>,
    /// Standardised walltime improvement with costs by parameters.
    pub(crate) swi_ms: Option<f64>,
    /// The same with costs as measured.
    pub(crate) swi_pw: Option<f64>,
    pub(crate) account: Option<Account>,
    pub(crate) times: Option<Times>,
}

/// What is known of a cell besides its lanes.
#[derive(Debug)]
pub(crate) struct Conditions<'a> {
    pub(crate) task: Task,
    pub(crate) concurrency: usize,
    pub(crate) tuned_on: usize,
    pub(crate) scored_on: usize,
    pub(crate) servers: &'a [Server],
    /// Parameters of each level.
    pub(crate) parameters: &'a BTreeMap<String, f64>,
}

impl Conditions<'_> {
    /// Scores the lanes.
    ///
    /// # Errors
    /// A server reports in another form.
    pub(crate) fn cell(
        &self,
        lanes: &[Lane],
        differences: Vec<Difference>,
        memory: Vec<Gain>,
    ) -> Result<Cell> {
        let mut times = Vec::with_capacity(lanes.len());
        for samples in lanes.iter().map(|lane| &lane.explained) {
            let account = Account::of(samples)?;
            times.push(
                account
                    .map(|account| Times::of(samples, &account))
                    .transpose()?,
            );
        }
        let arms = lanes.iter().zip(&times);
        let arms = arms.map(|(lane, own)| {
            let alone = named(lanes, lane, TARGET_ALONE);
            let alone = alone.and_then(|index| times[index].as_ref());
            self.score(lanes, lane, own.as_ref(), alone)
        });
        Ok(Cell {
            workload: self.task.workload.name(),
            temperature: self.task.temperature,
            concurrency: self.concurrency,
            tuned_on: self.tuned_on,
            scored_on: self.scored_on,
            differences,
            arms: arms.collect::<Result<_>>()?,
            memory,
        })
    }

    fn score(
        &self,
        lanes: &[Lane],
        lane: &Lane,
        own: Option<&Times>,
        alone: Option<&Times>,
    ) -> Result<Score> {
        let base = |name| named(lanes, lane, name).map(|index| &lanes[index]);
        let ratio = |base: Option<&Lane>| Interval::of_ratios(&lane.speeds, &base?.speeds);
        let account = Account::of(&lane.samples)?;
        let target = self.target();
        let standardised =
            |costs: Option<BTreeMap<String, f64>>| Some(account.as_ref()?.standardised(&costs?));
        let texts = base(TARGET_ALONE).map(|alone| {
            let pairs = lane.samples.iter().zip(&alone.samples);
            pairs.filter(|(own, other)| own.text == other.text).count()
        });
        Ok(Score {
            name: lane.arm.name.clone(),
            shown: lane.arm.shown(),
            plan: lane.arm.plan.clone(),
            speed: Interval::of(lane.speeds.iter().copied()),
            to_target: ratio(base(TARGET_ALONE)),
            to_two_model: ratio(base(TWO_MODEL)),
            tokens: lane.samples.iter().map(|sample| sample.tokens).sum(),
            forwards: lane.forwards,
            same_texts: texts,
            tokens_per_call: account
                .as_ref()
                .zip(target)
                .and_then(|(account, target)| account.tokens_per_call(target)),
            swi_ms: standardised(target.and_then(|target| in_targets(self.parameters, target))),
            swi_pw: standardised(target.and_then(|target| {
                let each = |times: &Times| {
                    times
                        .levels
                        .iter()
                        .map(|(name, level)| (name.clone(), level.each))
                        .collect()
                };
                let mut costs: BTreeMap<String, f64> = own.map(each)?;
                costs.insert(target.to_owned(), alone?.levels.get(target)?.each);
                in_targets(&costs, target)
            })),
            account,
            times: own.cloned(),
        })
    }

    /// The target's name.
    fn target(&self) -> Option<&str> {
        self.servers.iter().find_map(Server::target)
    }
}

/// The lane of this name on the same server, else on any.
fn named(lanes: &[Lane], of: &Lane, name: &str) -> Option<usize> {
    let fits = |lane: &Lane| lane.arm.name.starts_with(name);
    let same = lanes
        .iter()
        .position(|lane| lane.arm.server == of.arm.server && fits(lane));
    same.or_else(|| lanes.iter().position(fits))
}

/// Costs in units of the target's.
fn in_targets(costs: &BTreeMap<String, f64>, target: &str) -> Option<BTreeMap<String, f64>> {
    let unit = costs.get(target).copied().filter(|&unit| unit > 0.0)?;
    let costs = costs.iter();
    Some(
        costs
            .map(|(level, cost)| (level.clone(), cost / unit))
            .collect(),
    )
}
