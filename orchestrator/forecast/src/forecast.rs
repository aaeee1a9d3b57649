//! The best of all settings, by formula and by simulation; beside what was measured; and whether a change pays.

use std::{fmt, sync::Arc};

use csd_cascade::{Plan, Strategy as _};
use csd_level::Error;
use serde::Serialize;

use crate::{
    formula::Formula,
    lineup::Lineup,
    setting::Setting,
    simulation::{Simulation, SimulationError, Way},
    trace::{Arm, Asked},
};

/// A change of speed that nobody would notice.
const LEAST: f64 = 0.02;

/// What was measured, and what formula and simulation say of the same plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The arm.
    pub name: String,
    /// Its plan in short.
    pub plan: String,
    /// Tokens a second.
    pub measured: f64,
    /// The ends of its 95 % interval.
    pub interval: [f64; 2],
    /// Tokens a second by formula; none where the formulas are silent.
    pub formula: Option<f64>,
    /// Tokens a second by simulation.
    pub simulation: f64,
    /// Tokens for each call of the target, as measured …
    pub tokens_per_call: f64,
    /// … and by simulation.
    pub simulated_tokens_per_call: f64,
}

/// What a lineup comes to at its best.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// By formula.
    pub formula: Best,
    /// By simulation of fixed plans: each half of the texts is written by the plan that is best for the other half. The
    /// plan that is best for all is shown.
    pub simulation: Best,
    /// By simulation of the planner, in tokens a second: each half of the texts after the other half.
    pub planner: f64,
}

/// The best plan, and how fast it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Best {
    /// K.
    pub k: Vec<Vec<u32>>,
    /// Tokens a second.
    pub tokens_per_second: f64,
}

/// Whether a change pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// By formula and by simulation.
    Pays,
    /// Neither says so.
    DoesNotPay,
    /// One or both say so, but the simulation was no more exact than that on what was measured.
    TooClose,
    /// One says yes, the other no.
    Disagree,
}

/// Whether a change pays, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// In short.
    pub answer: Answer,
    /// Times as fast, by formula.
    pub formula: f64,
    /// Times as fast, by simulation: the better of fixed plan and planner against the better of both without the change.
    pub simulation: f64,
    /// By how much the simulation's errors on what was measured differ, as a share: their standard deviation. What they
    /// have in common does not matter to a comparison.
    pub doubt: f64,
}

impl Check {
    /// Compares an arm. The planner has learnt from the same texts before.
    ///
    /// # Errors
    /// The arm's plan does not fit the lineup.
    pub fn of(arm: &Arm, lineup: &Lineup) -> Result<Self, SimulationError> {
        let simulation = Simulation::new(lineup)?;
        let texts: Vec<usize> = (0..lineup.texts()).collect();
        let (formula, pace) = match plan(&arm.plan, lineup.drafters())? {
            None => (None, simulation.planner(&texts, &texts)?),
            Some(plan) => {
                let setting = Setting::of(&plan, lineup).filter(|_| !plan.pipelined());
                let speed = setting.map(|setting| Formula::new(lineup).speed(setting));
                let way = Way::Plan(Arc::new(plan));
                (speed, simulation.write(&way, &texts)?)
            }
        };
        Ok(Self {
            name: arm.name.clone(),
            plan: match &arm.plan {
                Asked::Named(name) => name.clone(),
                Asked::Matrix { k, .. } => format!("{k:?}"),
            },
            measured: arm.tokens_per_second,
            interval: [arm.low, arm.high],
            formula,
            simulation: pace.tokens_per_second,
            tokens_per_call: arm.tokens_per_call,
            simulated_tokens_per_call: pace.tokens_per_call,
        })
    }

    /// How far the simulation is off, as a share of what was measured.
    pub fn error(&self) -> f64 {
        self.simulation / self.measured - 1.0
    }
}

impl Forecast {
    /// Searches.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn of(lineup: &Lineup) -> Result<Self, SimulationError> {
        let settings = Setting::all(lineup);
        let formula = Formula::new(lineup).best(&settings);
        let half = |first| (first..lineup.texts()).step_by(2).collect::<Vec<_>>();
        let simulation = Simulation::new(lineup)?;
        // Each half is written as the other half teaches.
        let (mut fixed, mut planner) = (1.0, 1.0);
        for (taught, scored) in [(half(0), half(1)), (half(1), half(0))] {
            let share = scored.len() as f64 / lineup.texts() as f64;
            let best = simulation.best(&settings, &taught)?;
            fixed *= simulation
                .write(&simulation.way(best)?, &scored)?
                .tokens_per_second
                .powf(share);
            planner *= simulation
                .planner(&taught, &scored)?
                .tokens_per_second
                .powf(share);
        }
        let all: Vec<usize> = (0..lineup.texts()).collect();
        let best = |setting: Setting, tokens_per_second| Best {
            k: setting.k(lineup),
            tokens_per_second,
        };
        Ok(Self {
            formula: best(formula.0, formula.1),
            simulation: best(simulation.best(&settings, &all)?, fixed),
            planner,
        })
    }

    /// Tokens a second of whoever simulates faster: the best fixed plan, or the planner.
    pub fn simulated(&self) -> f64 {
        self.simulation.tokens_per_second.max(self.planner)
    }
}

impl Verdict {
    /// Of a change from `without` to `with`, by a simulation that the checks have tried.
    pub fn of(without: &Forecast, with: &Forecast, checks: &[Check]) -> Self {
        let formula = with.formula.tokens_per_second / without.formula.tokens_per_second;
        let simulation = with.simulated() / without.simulated();
        let doubt = spread(checks.iter().map(|check| check.error().ln_1p()).collect());
        let pays = |factor: f64| factor > 1.0 + LEAST;
        let answer = match (pays(formula), pays(simulation)) {
            (false, false) => Answer::DoesNotPay,
            _ if (simulation - 1.0).abs() < doubt => Answer::TooClose,
            (true, true) => Answer::Pays,
            _ => Answer::Disagree,
        };
        Self {
            answer,
            formula,
            simulation,
            doubt,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |factor: f64| format!("{:+.0} %", (factor - 1.0) * 100.0);
        let (formula, simulation) = (percent(self.formula), percent(self.simulation));
        let both = format!("{simulation} by simulation, {formula} by formula");
        let doubt = self.doubt * 100.0;
        match self.answer {
            Answer::Pays => write!(formatter, "pays: {both}"),
            Answer::DoesNotPay => write!(formatter, "does not pay: {both}"),
            Answer::TooClose => write!(
                formatter,
                "too close to call: {both}, and the simulation's errors on what was measured differ by {doubt:.0} %"
            ),
            Answer::Disagree => write!(formatter, "formula and simulation disagree: {both}"),
        }
    }
}

/// The standard deviation.
fn spread(values: Vec<f64>) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (squares.sum::<f64>() / (count - 1.0).max(1.0)).sqrt()
}

/// The plan that was asked for; none for the planner.
fn plan(asked: &Asked, drafters: usize) -> Result<Option<Plan>, Error> {
    match asked {
        Asked::Named(name) if name == "auto" => Ok(None),
        Asked::Named(name) if name == "off" => Ok(Some(Plan::off(drafters))),
        Asked::Named(name) => Plan::preset(name, drafters).map(Some),
        Asked::Matrix {
            k,
            lenience,
            pipelined,
        } => {
            let plan = Plan::matrix(k, *lenience, drafters)?;
            Ok(Some(plan.with_pipelining(*pipelined)))
        }
    }
}
