//! The fixed plans that are searched.

use anyhow::Result;
use csd_cascade::Plan;

/// Lengths of a draft that are searched.
const LENGTHS: [u32; 16] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32];
/// Entries of K in a chain.
const ENTRIES: [u32; 8] = [0, 1, 2, 4, 6, 8, 12, 16];

fn plan(k: [[u32; 3]; 3]) -> Result<Plan> {
    Ok(Plan::matrix(&k.map(Vec::from), 1.0, 3)?)
}

/// Drafts by one level alone.
pub(crate) fn by_one(columns: &[usize]) -> Result<Vec<Plan>> {
    let lengths = LENGTHS.iter().flat_map(|&length| {
        columns.iter().map(move |&column| {
            let mut k = [[0; 3]; 3];
            k[0][column] = length;
            plan(k)
        })
    });
    lengths.collect()
}

/// Levels that review what the next smaller one writes; they wait for the target, or draft beside its review.
pub(crate) fn chains() -> Result<Vec<Plan>> {
    let mut chains = by_one(&[0, 1, 2])?;
    for a in ENTRIES {
        for b in ENTRIES {
            chains.push(plan([[a, 0, 0], [0, 0, b], [0, 0, 0]])?);
            chains.push(plan([[0, a, 0], [0, 0, 0], [0, 0, b]])?);
            for c in ENTRIES {
                chains.push(plan([[a, 0, 0], [0, b, 0], [0, 0, c]])?);
            }
        }
    }
    let beside = chains.iter().map(|plan| plan.clone().with_pipelining(true));
    Ok(beside.chain(chains.iter().cloned()).collect())
}
