//! Who is compared: ways to write a text, and the settings that each may be tuned over.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::server::{Cascade, Server};

/// Drafts that are searched, up to the longest that anybody reviews.
const LENGTHS: [u32; 14] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 32];
/// Drafts for the target that are searched where drafters have reviewers of their own.
const LONG: [u32; 6] = [4, 6, 10, 15, 20, 28];
/// Drafts for a drafter.
const INNER: [u32; 3] = [3, 6, 10];
/// Max-Gram's drafts for a drafter: it costs nothing, but each token of it is a row more.
const ASSIST: u32 = 4;
/// The planner's name in a request.
const PLANNER: &str = "auto";

/// A way to write a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// No drafter.
    Target,
    /// One neural drafter that writes token by token, the best of all of them: plain speculation.
    TwoModel,
    /// Max-Gram directly under the target.
    MaxGram,
    /// Each level reviews the next one's drafts.
    Vertical,
    /// The same, drafting on while the target reviews.
    Pipelined,
    /// The paper's settings.
    Paper,
    /// The cascade file's plan.
    File,
    /// Plans chosen while the text is written.
    Planner,
}

/// A way to write a text with all settings that it may have.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) candidates: Vec<Arm>,
    /// Whether it learns from what it writes, and so is tuned by writing.
    pub(crate) learns: bool,
}

/// A way to write a text that is ready to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Arm {
    pub(crate) name: String,
    /// Index of the server.
    pub(crate) server: usize,
    /// The request's `cascade`; none for the server's own way.
    pub(crate) plan: Option<Value>,
    /// The part of the memory that helps, if one is to.
    pub(crate) memory: Option<String>,
}

/// The names by which ratios find their base.
pub(crate) const TARGET_ALONE: &str = "target alone";
pub(crate) const TWO_MODEL: &str = "best two-model";

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Target => TARGET_ALONE,
            Self::TwoModel => TWO_MODEL,
            Self::MaxGram => "Max-Gram alone",
            Self::Vertical => "vertical",
            Self::Pipelined => "vertical, pipelined",
            Self::Paper => "vertical + horizontal (paper)",
            Self::File => "the file's plan",
            Self::Planner => "planner",
        }
    }

    /// The settings that `cascade` can be asked for, drafts of at most `longest` tokens; none when it cannot do this.
    fn plans(self, cascade: &Cascade, longest: u32) -> Vec<Option<Value>> {
        let drafters = cascade.levels.len().saturating_sub(1);
        let neural = cascade
            .levels
            .iter()
            .skip(1)
            .filter(|level| !level.is_statistical())
            .count();
        let lengths = LENGTHS.into_iter().filter(|&length| length <= longest);
        let one = |drafter: usize, length: u32| {
            let mut k = vec![vec![0; drafters]; drafters];
            k[0][drafter] = length;
            Some(json!({"k": k}))
        };
        match self {
            Self::Target => vec![Some(json!("off"))],
            Self::File => vec![None],
            Self::TwoModel => (0..neural)
                .flat_map(|drafter| lengths.clone().map(move |length| one(drafter, length)))
                .collect(),
            Self::MaxGram if neural < drafters => {
                lengths.map(|length| one(neural, length)).collect()
            }
            Self::MaxGram => Vec::new(),
            Self::Vertical => chains(neural, drafters, longest, false),
            Self::Pipelined => chains(neural, drafters, longest, true),
            Self::Paper => named(cascade, |name| name.starts_with("paper")),
            Self::Planner => named(cascade, |name| name == PLANNER),
        }
    }

    /// This way on a server; none when the server cannot do it.
    pub(crate) fn family(self, index: usize, server: &Server) -> Option<Family> {
        let longest = server
            .rows
            .map_or(u32::MAX, |rows| rows.saturating_sub(1) as u32);
        let plans = self.plans(server.cascade.as_ref()?, longest);
        let name = match server.name.as_str() {
            "" => self.name().to_owned(),
            of => format!("{} ({of})", self.name()),
        };
        let arm = |plan| Arm {
            name: name.clone(),
            server: index,
            plan,
            memory: None,
        };
        let candidates: Vec<Arm> = plans.into_iter().map(arm).collect();
        let learns = self == Self::Planner;
        (!candidates.is_empty()).then_some(Family {
            name,
            candidates,
            learns,
        })
    }
}

impl Arm {
    /// The plan in short: a name, or the matrix K.
    pub(crate) fn shown(&self) -> String {
        match &self.plan {
            None => String::new(),
            Some(Value::String(name)) => name.clone(),
            Some(plan) => plan["k"].to_string(),
        }
    }
}

impl Family {
    /// One setting, nothing to tune.
    pub(crate) fn single(name: String, server: usize, plan: Option<Value>) -> Self {
        Self {
            candidates: vec![Arm {
                name: name.clone(),
                server,
                plan,
                memory: None,
            }],
            name,
            learns: false,
        }
    }
}

/// Chains over all levels, and over all but one of the middle where there are several.
fn chains(neural: usize, drafters: usize, longest: u32, pipelined: bool) -> Vec<Option<Value>> {
    let mut plans = Vec::new();
    if drafters < 2 {
        return plans;
    }
    let statistical = neural < drafters;
    for outer in LONG.into_iter().filter(|&length| length <= longest) {
        for inner in INNER.into_iter().filter(|&inner| inner <= outer) {
            for first in 0..neural.min(2) {
                let mut k = vec![vec![0; drafters]; drafters];
                k[0][first] = outer;
                for (level, row) in k.iter_mut().enumerate().skip(first + 1) {
                    let last = statistical && level == drafters - 1;
                    row[level] = if last { ASSIST } else { inner };
                }
                let plan = json!({"k": k, "pipelined": pipelined});
                if !plans.contains(&Some(plan.clone())) {
                    plans.push(Some(plan));
                }
            }
        }
    }
    plans
}

fn named(cascade: &Cascade, wanted: impl Fn(&str) -> bool) -> Vec<Option<Value>> {
    let names = cascade.plans.iter().filter(|name| wanted(name));
    names.map(|name| Some(json!(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cascade() -> Cascade {
        let level = |name: &str, kind: &str| json!({"name": name, "kind": kind});
        serde_json::from_value(json!({
            "levels": [level("target", "neural"), level("draft", "neural"), level("mini", "neural"), level("maxgram", "statistical")],
            "plans": ["off", "paper-mmlu"],
        }))
        .expect("a cascade")
    }

    #[test]
    fn families_hold_what_their_names_say() {
        let plans = |kind: Kind| kind.plans(&cascade(), 15);
        assert_eq!(plans(Kind::Target), [Some(json!("off"))]);
        assert_eq!(plans(Kind::File), [None]);
        assert_eq!(plans(Kind::Paper), [Some(json!("paper-mmlu"))]);
        assert_eq!(plans(Kind::Planner), []);
        let two = plans(Kind::TwoModel);
        assert_eq!(two.len(), 20, "two drafters, ten lengths up to 15");
        assert!(two.contains(&Some(json!({"k": [[0, 15, 0], [0, 0, 0], [0, 0, 0]]}))));
        assert!(
            plans(Kind::MaxGram).contains(&Some(json!({"k": [[0, 0, 8], [0, 0, 0], [0, 0, 0]]})))
        );
        let vertical = plans(Kind::Vertical);
        for k in [
            [[10, 0, 0], [0, 6, 0], [0, 0, 4]],
            [[0, 10, 0], [0, 0, 0], [0, 0, 4]],
        ] {
            assert!(
                vertical.contains(&Some(json!({"k": k, "pipelined": false}))),
                "{k:?}"
            );
        }
    }

    #[test]
    fn a_cascade_without_max_gram_is_not_asked_for_it() {
        let mut cascade = cascade();
        cascade.levels.pop();
        assert_eq!(Kind::MaxGram.plans(&cascade, 32), []);
        let chain = json!({"k": [[10, 0], [0, 6]], "pipelined": false});
        assert!(Kind::Vertical.plans(&cascade, 32).contains(&Some(chain)));
    }
}
