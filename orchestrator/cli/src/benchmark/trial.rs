//! Arms side by side: prompt by prompt in turn, so that whatever disturbs the machine disturbs all alike.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    arm::{Arm, Family},
    sample::{Sample, Task},
    server::{Forwards, Server},
};

/// Prompts after which the slower half of a family's settings is given up.
const HEAT: usize = 4;
/// How often one that learns writes the prompts that others are tuned on: no more than those write in their search.
const LESSONS: usize = 3;

/// The conditions under which arms are compared.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    pub(crate) servers: &'a [Server],
    pub(crate) task: Task,
    /// Texts at once.
    pub(crate) concurrency: usize,
    pub(crate) bar: &'a ProgressBar,
}

/// What an arm has done.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) arm: Arm,
    /// Tokens per second of each wave of texts.
    pub(crate) speeds: Vec<f64>,
    /// The texts, in the order of their prompts.
    pub(crate) samples: Vec<Sample>,
    /// A few of the texts once more, their calls timed, which costs time.
    pub(crate) explained: Vec<Sample>,
    /// Forwards of all levels for the texts that were not timed call by call.
    pub(crate) forwards: Forwards,
}

/// A text that an arm wrote otherwise than the first arm of its server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub(crate) arm: String,
    pub(crate) plan: String,
    pub(crate) prompt: String,
}

impl Lane {
    fn new(arm: Arm) -> Self {
        Self {
            arm,
            speeds: Vec::new(),
            samples: Vec::new(),
            explained: Vec::new(),
            forwards: Forwards::default(),
        }
    }

    /// Logarithm of its speed, for comparing.
    fn log_speed(&self) -> f64 {
        self.speeds.iter().map(|speed| speed.ln()).sum::<f64>() / self.speeds.len().max(1) as f64
    }
}

impl Trial<'_> {
    /// Has all arms write on from all prompts.
    ///
    /// A wave is as many prompts as texts are written at once. Before each, every server reads its prompts, so that no arm
    /// profits from another's reading; then the arms take turns, the first of them another in each wave. In each of the
    /// first `explained` waves an arm then writes one text once more, its calls timed.
    ///
    /// # Errors
    /// A text cannot be written.
    pub(crate) async fn race(
        &self,
        arms: Vec<Arm>,
        prompts: &[String],
        explained: usize,
    ) -> Result<Vec<Lane>> {
        let mut lanes: Vec<Lane> = arms.into_iter().map(Lane::new).collect();
        for (number, wave) in prompts.chunks(self.concurrency).enumerate() {
            self.read(&lanes, wave).await?;
            let count = lanes.len();
            for turn in 0..count {
                let lane = &mut lanes[(turn + number) % count];
                let server = &self.servers[lane.arm.server];
                let before = server.forwards().await?;
                let (speed, samples) = self.wave(&lane.arm, wave).await?;
                lane.forwards.add(before, server.forwards().await?);
                lane.speeds.push(speed);
                lane.samples.extend(samples);
                self.bar.inc(wave.len() as u64);
                if let Some(prompt) = wave.first().filter(|_| number < explained) {
                    lane.explained.push(self.explain(&lane.arm, prompt).await?);
                }
            }
        }
        Ok(lanes)
    }

    /// The fastest of a family's settings on these prompts: after every few prompts the slower half is given up, until one
    /// is left or the prompts are used up; one that learns writes them all, again and again. Differences between their
    /// texts are added to `differences`.
    ///
    /// # Errors
    /// A text cannot be written.
    pub(crate) async fn tune(
        &self,
        family: Family,
        prompts: &[String],
        differences: &mut Vec<Difference>,
    ) -> Result<Arm> {
        let mut left: Vec<Lane> = family.candidates.into_iter().map(Lane::new).collect();
        let lessons = if family.learns { LESSONS } else { 1 };
        let heats = || prompts.chunks(HEAT.max(self.concurrency));
        for heat in (0..lessons).flat_map(|_| heats()) {
            if left.len() < 2 && !family.learns {
                break;
            }
            let arms = left.iter().map(|lane| lane.arm.clone()).collect();
            let run = self.race(arms, heat, 0).await?;
            differences.extend(compare(&run, heat));
            for (lane, run) in left.iter_mut().zip(run) {
                lane.speeds.extend(run.speeds);
            }
            left.sort_by(|a, b| b.log_speed().total_cmp(&a.log_speed()));
            left.truncate(left.len().div_ceil(2));
        }
        let best = left.into_iter().next();
        Ok(best
            .with_context(|| format!("{} has no settings", family.name))?
            .arm)
    }

    /// Texts that `tune` writes at most, for the progress bar.
    pub(crate) fn tuning(&self, family: &Family, prompts: usize) -> u64 {
        if family.learns {
            return (LESSONS * prompts) as u64;
        }
        let heat = HEAT.max(self.concurrency);
        let (mut left, mut used, mut texts) = (family.candidates.len(), 0, 0);
        while left > 1 && used < prompts {
            let size = heat.min(prompts - used);
            (texts, used) = (texts + left * size, used + size);
            left = left.div_ceil(2);
        }
        texts as u64
    }

    /// One more text of an arm, its calls timed.
    async fn explain(&self, arm: &Arm, prompt: &str) -> Result<Sample> {
        let server = &self.servers[arm.server];
        let sample = match server.cascade {
            Some(_) => self.task.explain(server, arm, prompt).await,
            None => self.task.write(server, arm, prompt).await,
        };
        self.bar.inc(1);
        sample
    }

    async fn read(&self, lanes: &[Lane], prompts: &[String]) -> Result<()> {
        let mut read = Vec::new();
        for Lane { arm, .. } in lanes {
            if !read.contains(&arm.server) {
                read.push(arm.server);
                let server = &self.servers[arm.server];
                try_join_all(
                    prompts
                        .iter()
                        .map(|prompt| self.task.read(server, arm, prompt)),
                )
                .await?;
            }
        }
        Ok(())
    }

    /// Texts at once: tokens per second from the first request to the end of the last, and the texts.
    async fn wave(&self, arm: &Arm, prompts: &[String]) -> Result<(f64, Vec<Sample>)> {
        let server = &self.servers[arm.server];
        let texts = prompts
            .iter()
            .map(|prompt| self.task.write(server, arm, prompt));
        let samples = try_join_all(texts)
            .await
            .with_context(|| arm.name.clone())?;
        let tokens: usize = samples.iter().map(|sample| sample.tokens).sum();
        let seconds = samples
            .iter()
            .map(|sample| sample.seconds)
            .fold(1e-9, f64::max);
        Ok((tokens as f64 / seconds, samples))
    }
}

/// The texts that differ, by token ids, from those of the first lane of the same server. Servers that tell no ids are not
/// compared.
pub(crate) fn compare(lanes: &[Lane], prompts: &[String]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for lane in lanes {
        let first = lanes
            .iter()
            .find(|first| first.arm.server == lane.arm.server);
        let Some(first) = first else { continue };
        for ((own, expected), prompt) in lane.samples.iter().zip(&first.samples).zip(prompts) {
            if own.ids != expected.ids {
                differences.push(Difference {
                    arm: lane.arm.name.clone(),
                    plan: lane.arm.shown(),
                    prompt: prompt.clone(),
                });
            }
        }
    }
    differences
}
