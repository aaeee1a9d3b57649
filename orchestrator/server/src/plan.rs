//! Plans as callers name them.

use std::sync::Arc;

use csd_cascade::{Plan, Strategy};
use csd_level::Error;
use serde_json::{Value, json};

/// A plan, and the name it was asked for by.
#[derive(Clone, Debug)]
pub struct NamedPlan {
    name: Option<String>,
    plan: Arc<Plan>,
}

impl NamedPlan {
    /// The name of the plan that uses the target alone.
    pub const OFF: &'static str = "off";

    /// "off", or one of the published settings ([`csd_cascade::PRESETS`]).
    ///
    /// # Errors
    /// [`Error::Invalid`] for `cascade` when there is no such name or it does not fit so few drafters.
    pub fn named(name: &str, drafters: usize) -> Result<Self, Error> {
        let plan = if name == Self::OFF {
            Plan::off(drafters)
        } else {
            Plan::preset(name, drafters)?
        };
        Ok(Self {
            name: Some(name.to_owned()),
            plan: Arc::new(plan),
        })
    }

    /// The same plan, with the levels drafting on while the target reviews, or not.
    #[must_use]
    pub fn with_pipelining(self, pipelined: bool) -> Self {
        let plan = Plan::clone(&self.plan).with_pipelining(pipelined);
        Self {
            plan: Arc::new(plan),
            ..self
        }
    }

    /// A matrix of start thresholds, one row a reviewer and one column a drafter.
    ///
    /// # Errors
    /// [`Error::Invalid`] for `cascade.k` or `cascade.lenience`.
    pub fn matrix(k: &[Vec<u32>], lenience: f32, drafters: usize) -> Result<Self, Error> {
        let plan = Arc::new(Plan::matrix(k, lenience, drafters)?);
        Ok(Self { name: None, plan })
    }

    /// The plan of a cascade file.
    ///
    /// # Errors
    /// As [`NamedPlan::named`] and [`NamedPlan::matrix`].
    pub fn configured(plan: &csd_config::Plan, drafters: usize) -> Result<Self, Error> {
        match plan {
            csd_config::Plan::Off => Self::named(Self::OFF, drafters),
            csd_config::Plan::Preset(name) => Self::named(name, drafters),
            csd_config::Plan::Matrix {
                k,
                lenience,
                pipelined,
            } => {
                let plan = Self::matrix(k, *lenience, drafters)?;
                Ok(plan.with_pipelining(*pipelined))
            }
        }
    }

    /// Who drafts next in a text of this plan.
    pub fn strategy(&self) -> Arc<dyn Strategy> {
        self.plan.clone()
    }

    /// The levels that the plan gives a turn, ascending; the target is not among them.
    pub fn levels(&self) -> Vec<usize> {
        let mut used = vec![false; self.plan.drafters() + 1];
        let mut reviewers = vec![0];
        while let Some(reviewer) = reviewers.pop() {
            let budget = match reviewer {
                0 => self.plan.target(),
                drafter => &self.plan.drafter(drafter).budget,
            };
            for (level, &allotted) in (reviewer + 1..).zip(budget) {
                if allotted > 0 && !std::mem::replace(&mut used[level], true) {
                    reviewers.push(level);
                }
            }
        }
        (1..used.len()).filter(|&level| used[level]).collect()
    }

    /// What responses say of it: always the matrix, and the name if it has one.
    pub fn to_json(&self) -> Value {
        let mut value = json!({"k": self.plan.k(), "lenience": self.plan.lenience().factor()});
        if self.plan.pipelined() {
            value["pipelined"] = json!(true);
        }
        if let Some(name) = &self.name {
            value["name"] = json!(name);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_levels_with_a_turn_are_used() {
        let levels = |k: [[u32; 3]; 3]| {
            let k = k.map(Vec::from);
            NamedPlan::matrix(&k, 1.0, 3).expect("fits").levels()
        };
        assert_eq!(levels([[8, 0, 4], [0, 4, 0], [0, 0, 4]]), [1, 2, 3]);
        assert_eq!(levels([[8, 0, 0], [0, 0, 4], [0, 0, 4]]), [1, 3]);
        assert_eq!(levels([[0, 0, 4], [0, 4, 0], [0, 0, 0]]), [3]);
        assert!(
            NamedPlan::named("off", 3)
                .expect("known")
                .levels()
                .is_empty()
        );
    }

    #[test]
    fn what_is_said_of_a_plan_can_be_asked_for() {
        let said = NamedPlan::named("paper-mmlu", 3).expect("known").to_json();
        assert_eq!(said["name"], "paper-mmlu");
        assert_eq!(said["k"], json!([[5, 14, 10], [0, 1, 10], [0, 0, 10]]));
        assert_eq!(said["lenience"], 2.0);
    }
}
