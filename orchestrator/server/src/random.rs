//! Numbers that nobody chose: ids, and the seeds of requests that bring none.

use std::hash::{BuildHasher as _, RandomState};

const PROMPT: u64 = 0xD1B5_4A32_D192_ED03;
const CHOICE: u64 = 0xABC9_8388_FB8F_AC03;

/// 64 random bits, from the keys that the standard library draws for its hash tables.
pub(crate) fn bits() -> u64 {
    RandomState::new().hash_one(0)
}

/// The seed of one text of a request: choice `choice` of prompt `prompt`. The first choice of the first prompt has the
/// request's own seed, so that a text does not depend on what else was asked for with it.
pub(crate) fn derived(seed: u64, prompt: usize, choice: usize) -> u64 {
    seed.wrapping_add((prompt as u64).wrapping_mul(PROMPT))
        .wrapping_add((choice as u64).wrapping_mul(CHOICE))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_text_of_a_request_has_a_seed_of_its_own() {
        let seeds: HashSet<u64> = (0..100)
            .flat_map(|prompt| (0..100).map(move |choice| derived(7, prompt, choice)))
            .collect();
        assert_eq!(seeds.len(), 10_000);
        assert_eq!(derived(7, 0, 0), 7);
        assert_ne!(bits(), bits());
    }
}
