//! The ways to use a lineup that the paper's formulas can speak of, and the plan of each.

use csd_cascade::Plan;
use csd_level::Result;

use crate::{lineup::Lineup, trace::Kind};

/// Drafts by one level that are searched.
const LENGTHS: [usize; 13] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 26, 31];
/// Start thresholds of drafts that are reviewed on their way.
const THRESHOLDS: [usize; 6] = [4, 6, 10, 15, 20, 28];
/// Drafts for a drafter.
const FED: [usize; 5] = [1, 2, 4, 6, 10];
/// What a level's own Max-Gram is asked for: it costs nothing, but each token of it is a row more.
const ASSIST: usize = 4;
/// The larger drafter's part of a horizontal draft.
const EARLY: [usize; 4] = [2, 4, 8, 12];
/// The smaller one's.
const LATE: [usize; 3] = [2, 4, 8];

/// A way to use a lineup. Drafters are positions in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The target alone.
    Off,
    /// One drafter writes so many tokens.
    Plain {
        /// Who.
        drafter: usize,
        /// How many.
        length: usize,
    },
    /// One drafter writes until it has so many tokens, by reviewing what a smaller one writes for it.
    Vertical {
        /// The larger one.
        first: usize,
        /// When it begins no other review.
        threshold: usize,
        /// The smaller one; the last level where it is Max-Gram, the larger one's own if it has one.
        second: usize,
        /// How many tokens it writes for each review.
        fed: usize,
        /// How many tokens the smaller one's own Max-Gram writes for each of its forwards.
        assist: usize,
    },
    /// The larger of two drafters writes the first tokens, the smaller one goes on.
    Horizontal {
        /// The larger one.
        first: usize,
        /// How many tokens.
        early: usize,
        /// The smaller one.
        second: usize,
        /// How many more.
        late: usize,
    },
}

impl Setting {
    /// All that are worth a look.
    pub fn all(lineup: &Lineup) -> Vec<Self> {
        let longest = lineup.longest();
        let mut all = vec![Self::Off];
        let lengths =
            |of: &'static [usize]| of.iter().copied().filter(move |&length| length <= longest);
        for drafter in 1..lineup.members.len() {
            all.extend(lengths(&LENGTHS).map(|length| Self::Plain { drafter, length }));
        }
        for first in 1..lineup.members.len() {
            for second in first + 1..lineup.members.len() {
                let assisted = neural(lineup, second) && assisted(lineup, second);
                let assists = if assisted { vec![0, ASSIST] } else { vec![0] };
                for threshold in lengths(&THRESHOLDS) {
                    for fed in FED.into_iter().filter(|&fed| fed <= threshold) {
                        all.extend(assists.iter().map(|&assist| Self::Vertical {
                            first,
                            threshold,
                            second,
                            fed,
                            assist,
                        }));
                    }
                }
                for early in EARLY {
                    let late = LATE.into_iter().filter(|late| early + late <= longest);
                    all.extend(late.map(|late| Self::Horizontal {
                        first,
                        early,
                        second,
                        late,
                    }));
                }
            }
        }
        all
    }

    /// Its K matrix: rows are reviewers, columns drafters.
    pub fn k(self, lineup: &Lineup) -> Vec<Vec<u32>> {
        let drafters = lineup.drafters();
        let mut k = vec![vec![0; drafters]; drafters];
        let mut set = |reviewer: usize, drafter: usize, count: usize| {
            k[reviewer][drafter - 1] = count as u32;
        };
        match self {
            Self::Off => {}
            Self::Plain { drafter, length } => set(0, drafter, length),
            Self::Vertical {
                first,
                threshold,
                second,
                fed,
                assist,
            } => {
                set(0, first, threshold);
                set(first, second, fed);
                if assist > 0 {
                    set(second, drafters, assist);
                }
            }
            Self::Horizontal {
                first,
                early,
                second,
                late,
            } => {
                set(0, first, early);
                set(0, second, late);
            }
        }
        k
    }

    /// Its plan.
    ///
    /// # Errors
    /// None that a setting of the same lineup could have.
    pub fn plan(self, lineup: &Lineup) -> Result<Plan> {
        Plan::matrix(&self.k(lineup), 1.0, lineup.drafters())
    }

    /// The setting that a plan is; none where formulas are silent.
    pub fn of(plan: &Plan, lineup: &Lineup) -> Option<Self> {
        let k = plan.k();
        let used = |reviewer: usize| -> Vec<(usize, usize)> {
            let row = k.get(reviewer).into_iter().flatten().enumerate();
            row.filter(|&(_, &count)| count > 0)
                .map(|(column, &count)| (column + 1, count))
                .collect()
        };
        let last = lineup.drafters();
        match used(0)[..] {
            [] => Some(Self::Off),
            [(drafter, length)] => match used(drafter)[..] {
                [] => Some(Self::Plain { drafter, length }),
                [(second, fed)] => {
                    let assist = match used(second)[..] {
                        [] => 0,
                        [(level, count)] if level == last && assisted(lineup, second) => count,
                        _ => return None,
                    };
                    Some(Self::Vertical {
                        first: drafter,
                        threshold: length,
                        second,
                        fed,
                        assist,
                    })
                }
                _ => None,
            },
            [(first, early), (second, late)]
                if used(first).is_empty() && used(second).is_empty() =>
            {
                Some(Self::Horizontal {
                    first,
                    early,
                    second,
                    late,
                })
            }
            _ => None,
        }
    }
}

fn neural(lineup: &Lineup, level: usize) -> bool {
    lineup.members[level].kind == Kind::Neural
}

/// Whether a level may use a Max-Gram of its own: the plan calls it by the last level's column.
pub(crate) fn assisted(lineup: &Lineup, level: usize) -> bool {
    lineup.members[level].assisted && !neural(lineup, lineup.drafters())
}
