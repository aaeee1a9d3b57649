//! The plan: how many positions of a draft each level is allotted.

use std::{sync::Arc, time::Duration};

use csd_level::{Description, Error, Lenience, Result};

use crate::strategy::{Manner, Situation, Strategy, Turn, Worth, assisted};

/// A published setting: Table 1 and the appendix of the paper, in the form of its reference code.
struct Preset {
    name: &'static str,
    k: &'static [&'static [u32]],
    lenience: f32,
}

/// The settings of the paper by name. Their last drafter is Max-Gram, the ones before are neural, larger first.
const SETTINGS: [Preset; 4] = [
    Preset {
        name: "paper-mmlu",
        k: &[&[5, 14, 10], &[0, 1, 10], &[0, 0, 10]],
        lenience: 2.0,
    },
    Preset {
        name: "paper-mmlu-measured",
        k: &[&[5, 8, 10], &[0, 1, 10], &[0, 0, 10]],
        lenience: 5.0,
    },
    Preset {
        name: "paper-llama",
        k: &[&[13, 10], &[0, 10]],
        lenience: 3.0,
    },
    Preset {
        name: "paper-small",
        k: &[&[5, 10], &[0, 10]],
        lenience: 1.0,
    },
];

/// The names that [`Plan::preset`] knows.
pub const PRESETS: [&str; 4] = [
    SETTINGS[0].name,
    SETTINGS[1].name,
    SETTINGS[2].name,
    SETTINGS[3].name,
];

/// How long a plan waits for its levels to read a prompt: no more than a person takes for at once (Nielsen, *Usability
/// engineering*, 1993, gives a tenth of a second), target included.
const PATIENCE: Duration = Duration::from_millis(50);

/// No entry of K is larger: a guard against nonsense, far above what pays.
const MOST: u32 = 1024;

/// What a drafter does with a draft of its own before it passes it up.
#[derive(Clone, Debug, PartialEq)]
pub struct Drafter {
    /// Start thresholds of the levels under it; entry 0 is the level directly under it.
    pub budget: Vec<usize>,
    /// Looseness of its reviews.
    pub lenience: Lenience,
}

/// The K matrix as start thresholds: another step of level j begins while the draft for level i is shorter than
/// K\[i]\[i+1] + … + K\[i]\[j].
///
/// The target's row carries no lenience: a plan cannot express a loose review of the target.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    target: Vec<usize>,
    drafters: Vec<Drafter>,
    pipelined: bool,
}

impl Plan {
    /// The target alone, under `drafters` idle levels.
    pub fn off(drafters: usize) -> Self {
        let rows = (0..drafters).map(|reviewer| vec![0; drafters - reviewer]);
        Self::from_rows(rows, Lenience::NONE)
    }

    /// A matrix of one row a reviewer (target first; the last level reviews nobody) and one column a drafter, zero below
    /// the diagonal.
    ///
    /// # Errors
    /// [`Error::Invalid`] for `cascade.k` or `cascade.lenience`.
    pub fn matrix(k: &[Vec<u32>], lenience: f32, drafters: usize) -> Result<Self> {
        let invalid = |reason: String| Err(Error::invalid("cascade.k", reason));
        if k.len() != drafters || k.iter().any(|row| row.len() != drafters) {
            let rows: Vec<usize> = k.iter().map(Vec::len).collect();
            return invalid(format!(
                "must be {drafters} × {drafters} for {drafters} drafters, got rows of {rows:?}"
            ));
        }
        for (reviewer, row) in k.iter().enumerate() {
            if row[..reviewer].iter().any(|&entry| entry != 0) {
                return invalid(format!(
                    "row {reviewer}: level {reviewer} can only use levels below it; zeros belong left of the diagonal"
                ));
            }
            if let Some(entry) = row.iter().find(|&&entry| entry > MOST) {
                return invalid(format!(
                    "row {reviewer}: {entry} is above the limit of {MOST}"
                ));
            }
        }
        let lenience = Lenience::new(lenience)
            .map_err(|error| Error::invalid("cascade.lenience", format!("{error}")))?;
        let rows = k.iter().enumerate().map(|(reviewer, row)| {
            row[reviewer..]
                .iter()
                .map(|&entry| entry as usize)
                .collect()
        });
        Ok(Self::from_rows(rows, lenience))
    }

    /// A published setting for a cascade of `drafters` levels under its target. Where the cascade has more levels than
    /// the setting, those between its neural drafters and the last level stay idle.
    ///
    /// # Errors
    /// [`Error::Invalid`] for `cascade` when the name is unknown or the cascade too short.
    pub fn preset(name: &str, drafters: usize) -> Result<Self> {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
            let reason = format!(
                "no plan is named {name:?}; there are \"off\", \"auto\", {}",
                PRESETS.map(|name| format!("{name:?}")).join(", ")
            );
            return Err(Error::invalid("cascade", reason));
        };
        let needed = setting.k.len();
        if drafters < needed {
            let reason = format!("{name:?} needs {needed} drafters, this cascade has {drafters}");
            return Err(Error::invalid("cascade", reason));
        }
        let column = |index: usize| {
            if index + 1 == needed {
                drafters - 1
            } else {
                index
            }
        };
        let mut k = vec![vec![0; drafters]; drafters];
        for (reviewer, row) in setting.k.iter().enumerate() {
            for (index, &entry) in row.iter().enumerate() {
                k[reviewer][column(index)] = entry;
            }
        }
        Self::matrix(&k, setting.lenience, drafters)
    }

    fn from_rows(rows: impl Iterator<Item = Vec<usize>>, lenience: Lenience) -> Self {
        let mut rows: Vec<Vec<usize>> = rows.collect();
        rows.push(Vec::new()); // the last level has nobody under it
        let target = rows.remove(0);
        Self {
            target,
            drafters: rows
                .into_iter()
                .map(|budget| Drafter { budget, lenience })
                .collect(),
            pipelined: false,
        }
    }

    /// The same plan, with the levels drafting on while the target reviews, or not.
    #[must_use]
    pub fn with_pipelining(self, pipelined: bool) -> Self {
        Self { pipelined, ..self }
    }

    /// How many levels there are under the target.
    pub fn drafters(&self) -> usize {
        self.target.len()
    }

    /// The target's start thresholds; entry 0 is the level directly under it.
    pub fn target(&self) -> &[usize] {
        &self.target
    }

    /// What drafter `level` (1 is the one directly under the target) does.
    pub fn drafter(&self, level: usize) -> &Drafter {
        &self.drafters[level - 1]
    }

    /// Whether any level is used at all.
    pub fn is_off(&self) -> bool {
        self.target.iter().all(|&budget| budget == 0)
    }

    /// The looseness between drafters.
    pub fn lenience(&self) -> Lenience {
        self.drafters
            .first()
            .map_or(Lenience::NONE, |drafter| drafter.lenience)
    }

    /// The K matrix, n × n for n drafters.
    pub fn k(&self) -> Vec<Vec<usize>> {
        let drafters = self.drafters();
        let budgets = std::iter::once(&self.target)
            .chain(self.drafters.iter().map(|drafter| &drafter.budget));
        budgets
            .take(drafters)
            .map(|budget| [vec![0; drafters - budget.len()], budget.clone()].concat())
            .collect()
    }
}

impl Strategy for Plan {
    /// The first level, larger ones first, that is still under its start threshold and has not ended its turn.
    fn next(&self, situation: &Situation<'_>) -> Option<Turn> {
        let budget = match situation.reviewer {
            0 => &self.target,
            drafter => &self.drafter(drafter).budget,
        };
        let len = situation.draft.len();
        let mut threshold = 0;
        for (level, allotted) in (situation.reviewer + 1..situation.levels.len()).zip(budget) {
            threshold += allotted;
            let asked = situation.usable.contains(level) && !situation.ended.contains(level);
            if len < threshold && asked {
                return Some(Turn {
                    level,
                    wanted: (threshold - len).min(situation.room),
                    room: situation.room,
                    manner: manner(situation.levels, level, &self.drafter(level).budget),
                });
            }
        }
        None
    }

    fn lenience(&self, level: usize) -> Lenience {
        self.drafter(level).lenience
    }

    fn patience(&self) -> Duration {
        if self.is_off() {
            Duration::ZERO
        } else {
            PATIENCE
        }
    }

    fn pipelined(&self) -> bool {
        self.pipelined
    }
}

/// A level that uses nobody, or only a Max-Gram that it has in its own process, runs its whole turn in one Draft call.
fn manner(levels: &[Arc<Description>], level: usize, budget: &[usize]) -> Manner {
    let (&last, others) = budget.split_last().unwrap_or((&0, &[]));
    let nobody_else = others.iter().all(|&budget| budget == 0);
    if nobody_else && (last == 0 || assisted(levels, level)) {
        Manner::Write {
            assist: last,
            prospects: None,
        }
    } else {
        Manner::Review { worth: Worth::TEXT }
    }
}

#[cfg(test)]
mod tests {
    use csd_level::{Kind, Level as _, scripted::ScriptedLevel};

    use super::*;

    #[test]
    fn presets_are_the_papers_and_stretch_over_longer_cascades() {
        let plan = Plan::preset("paper-mmlu", 3).expect("three drafters");
        assert_eq!(plan.k(), [[5, 14, 10], [0, 1, 10], [0, 0, 10]]);
        assert_eq!(plan.lenience().factor(), 2.0);
        let plan = Plan::preset("paper-llama", 3).expect("stretched");
        assert_eq!(plan.k(), [[13, 0, 10], [0, 0, 10], [0, 0, 0]]);
        assert!(Plan::preset("paper-mmlu", 2).is_err());
        for name in PRESETS {
            assert!(Plan::preset(name, 4).is_ok(), "{name}");
        }
    }

    #[test]
    fn only_a_max_gram_is_asked_for_inside_another_level() {
        let level = |kind| {
            let level = ScriptedLevel::new("a level", 10, 1, 1, 0.0).describe(|description| {
                description.kind = kind;
                description.assisted = kind == Kind::Neural;
            });
            level.description()
        };
        let (neural, statistical) = (level(Kind::Neural), level(Kind::Statistical));
        let with = [neural.clone(), neural.clone(), statistical];
        let without = [neural.clone(), neural.clone(), neural];
        assert!(matches!(
            manner(&with, 1, &[4]),
            Manner::Write { assist: 4, .. }
        ));
        assert!(matches!(manner(&without, 1, &[4]), Manner::Review { .. }));
        assert!(matches!(
            manner(&without, 1, &[0]),
            Manner::Write { assist: 0, .. }
        ));
    }

    #[test]
    fn a_matrix_of_the_wrong_shape_is_refused_by_name() {
        let field = |k: &[Vec<u32>], lenience| match Plan::matrix(k, lenience, 2) {
            Err(Error::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(&[vec![1, 2]], 1.0), "cascade.k");
        assert_eq!(field(&[vec![1], vec![0]], 1.0), "cascade.k");
        assert_eq!(field(&[vec![1, 2], vec![3, 4]], 1.0), "cascade.k");
        assert_eq!(field(&[vec![5000, 2], vec![0, 4]], 1.0), "cascade.k");
        assert_eq!(field(&[vec![1, 2], vec![0, 4]], 0.5), "cascade.lenience");
        assert_eq!(
            field(&[vec![1, 2], vec![0, 4]], f32::NAN),
            "cascade.lenience"
        );
    }

    #[test]
    fn off_has_no_entry() {
        let plan = Plan::off(3);
        assert!(plan.is_off());
        assert_eq!(plan.k(), [[0; 3]; 3]);
        assert_eq!(Plan::off(0).drafters(), 0);
    }
}
