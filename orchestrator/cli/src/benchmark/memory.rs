//! What remembered texts are worth, measured apart from everything else.
//!
//! Texts repeat from arm to arm, so whoever remembered them would win every comparison. Requests of the other tables
//! therefore ask for no memory. Here each arm writes the scored prompts with and without one, twice over: first it remembers
//! the texts of other prompts, those for tuning, then the very texts that are written. Every arm has a part of the memory to
//! itself that nobody has used before.

use std::{
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use serde::Serialize;

use super::{
    account::Account,
    arm::Arm,
    interval::Interval,
    trial::{Difference, Lane, Trial, compare},
};

/// What an arm gains.
#[derive(Debug, Serialize)]
pub(crate) struct Gain {
    pub(crate) arm: String,
    /// The plan in short.
    pub(crate) plan: String,
    /// Which texts are remembered.
    pub(crate) remembered: &'static str,
    /// Tokens per second of a wave of texts.
    pub(crate) without: Option<Interval>,
    pub(crate) with: Option<Interval>,
    /// Times as fast with as without.
    pub(crate) ratio: Option<Interval>,
    /// Tokens a call of the target, without and with.
    pub(crate) tokens_per_call: [Option<f64>; 2],
}

impl Trial<'_> {
    /// Has an arm write on from `prompts` with and without memory, once it remembers the texts of `others`, and once more.
    /// Differences between the texts are added to `differences`.
    ///
    /// # Errors
    /// A text cannot be written.
    pub(crate) async fn gains(
        &self,
        arm: &Arm,
        others: &[String],
        prompts: &[String],
        differences: &mut Vec<Difference>,
    ) -> Result<Vec<Gain>> {
        let remembering = Arm {
            memory: Some(unused_part()),
            ..arm.clone()
        };
        self.race(vec![remembering.clone()], others, 0).await?;
        let mut gains = Vec::new();
        for remembered in ["other texts", "these texts"] {
            let pair = vec![arm.clone(), remembering.clone()];
            let lanes = self.race(pair, prompts, 0).await?;
            differences.extend(compare(&lanes, prompts));
            let target = self.servers[arm.server].target();
            gains.extend(gain(remembered, &lanes, target)?);
        }
        Ok(gains)
    }
}

fn gain(remembered: &'static str, lanes: &[Lane], target: Option<&str>) -> Result<Option<Gain>> {
    let [without, with] = lanes else {
        return Ok(None);
    };
    let tokens_per_call = |lane: &Lane| -> Result<Option<f64>> {
        let account = Account::of(&lane.samples)?.zip(target);
        Ok(account.and_then(|(account, target)| account.tokens_per_call(target)))
    };
    Ok(Some(Gain {
        arm: with.arm.name.clone(),
        plan: with.arm.shown(),
        remembered,
        without: Interval::of(without.speeds.iter().copied()),
        with: Interval::of(with.speeds.iter().copied()),
        ratio: Interval::of_ratios(&with.speeds, &without.speeds),
        tokens_per_call: [tokens_per_call(without)?, tokens_per_call(with)?],
    }))
}

/// The name of a part of the memory that nobody has used before.
fn unused_part() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_nanos());
    format!("csd bench {} {now}", process::id())
}
