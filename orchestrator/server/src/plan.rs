//! Plans as callers name them.

use std::sync::Arc;

use csd_cascade::{Plan, Planner, Strategy};
use csd_level::Error;
use serde_json::{Value, json};

/// A plan, and the name it was asked for by.
#[derive(Clone, Debug)]
pub struct NamedPlan {
    name: Option<String>,
    choice: Choice,
}

#[derive(Clone, Debug)]
enum Choice {
    /// Budgets that somebody has written down.
    Fixed(Arc<Plan>),
    /// Whatever pays.
    Planned(Arc<Planner>),
}

impl NamedPlan {
    /// The name of the plan that uses the target alone.
    pub const OFF: &'static str = "off";
    /// The name of the plan that chooses for itself.
    pub const AUTO: &'static str = "auto";

    /// "off", "auto" or one of the published settings ([`csd_cascade::PRESETS`]), for the cascade of `planner`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for `cascade` when there is no such name or it does not fit so few drafters.
    pub fn named(name: &str, planner: &Arc<Planner>) -> Result<Self, Error> {
        let choice = match name {
            Self::AUTO => Choice::Planned(planner.clone()),
            Self::OFF => Choice::Fixed(Arc::new(Plan::off(planner.drafters()))),
            _ => Choice::Fixed(Arc::new(Plan::preset(name, planner.drafters())?)),
        };
        Ok(Self {
            name: Some(name.to_owned()),
            choice,
        })
    }

    /// A matrix of start thresholds, one row a reviewer and one column a drafter.
    ///
    /// # Errors
    /// [`Error::Invalid`] for `cascade.k` or `cascade.lenience`.
    pub fn matrix(
        k: &[Vec<u32>],
        lenience: f32,
        pipelined: bool,
        drafters: usize,
    ) -> Result<Self, Error> {
        let plan = Plan::matrix(k, lenience, drafters)?.with_pipelining(pipelined);
        Ok(Self {
            name: None,
            choice: Choice::Fixed(Arc::new(plan)),
        })
    }

    /// The plan of a cascade file.
    ///
    /// # Errors
    /// As [`NamedPlan::named`] and [`NamedPlan::matrix`].
    pub fn configured(plan: &csd_config::Plan, planner: &Arc<Planner>) -> Result<Self, Error> {
        match plan {
            csd_config::Plan::Off => Self::named(Self::OFF, planner),
            csd_config::Plan::Preset(name) => Self::named(name, planner),
            csd_config::Plan::Matrix {
                k,
                lenience,
                pipelined,
            } => Self::matrix(k, *lenience, *pipelined, planner.drafters()),
        }
    }

    /// Who drafts next in a text that is drawn at this temperature.
    pub fn strategy(&self, temperature: f32) -> Arc<dyn Strategy> {
        match &self.choice {
            Choice::Fixed(plan) => plan.clone(),
            Choice::Planned(planner) => Arc::new(planner.text(temperature)),
        }
    }

    /// The levels that may get a turn, ascending; the target is not among them.
    pub fn levels(&self) -> Vec<usize> {
        match &self.choice {
            Choice::Fixed(plan) => used(plan),
            Choice::Planned(planner) => planner.levels(),
        }
    }

    /// What responses say of it: the matrix of a fixed plan, and the name if it has one.
    pub fn to_json(&self) -> Value {
        let mut value = match &self.choice {
            Choice::Planned(_) => json!({}),
            Choice::Fixed(plan) => json!({"k": plan.k(), "lenience": plan.lenience().factor()}),
        };
        if matches!(&self.choice, Choice::Fixed(plan) if plan.pipelined()) {
            value["pipelined"] = json!(true);
        }
        if let Some(name) = &self.name {
            value["name"] = json!(name);
        }
        value
    }
}

/// The levels that a plan reaches from the target.
fn used(plan: &Plan) -> Vec<usize> {
    let mut used = vec![false; plan.drafters() + 1];
    let mut reviewers = vec![0];
    while let Some(reviewer) = reviewers.pop() {
        let budget = match reviewer {
            0 => plan.target(),
            drafter => &plan.drafter(drafter).budget,
        };
        for (level, &allotted) in (reviewer + 1..).zip(budget) {
            if allotted > 0 && !std::mem::replace(&mut used[level], true) {
                reviewers.push(level);
            }
        }
    }
    (1..used.len()).filter(|&level| used[level]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_levels_with_a_turn_are_used() {
        let levels = |k: [[u32; 3]; 3]| {
            let k = k.map(Vec::from);
            NamedPlan::matrix(&k, 1.0, false, 3).expect("fits").levels()
        };
        assert_eq!(levels([[8, 0, 4], [0, 4, 0], [0, 0, 4]]), [1, 2, 3]);
        assert_eq!(levels([[8, 0, 0], [0, 0, 4], [0, 0, 4]]), [1, 3]);
        assert_eq!(levels([[0, 0, 4], [0, 4, 0], [0, 0, 0]]), [3]);
        assert!(
            NamedPlan::named("off", &Arc::new(Planner::new(4)))
                .expect("known")
                .levels()
                .is_empty()
        );
    }

    #[test]
    fn what_is_said_of_a_plan_can_be_asked_for() {
        let said = NamedPlan::named("paper-mmlu", &Arc::new(Planner::new(4)))
            .expect("known")
            .to_json();
        assert_eq!(said["name"], "paper-mmlu");
        assert_eq!(said["k"], json!([[5, 14, 10], [0, 1, 10], [0, 0, 10]]));
        assert_eq!(said["lenience"], 2.0);
    }
}
