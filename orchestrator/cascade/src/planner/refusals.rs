//! Where a review may well end early, so that levels had better draft for that, too.

use std::sync::Arc;

use csd_level::{Description, DraftToken, Kind};

use super::{offers::assist, source::Source, value::View};

/// A refusal must be as likely as this.
const LIKELY: f64 = 0.02;
/// Refusals prepared for, at most: the likeliest two or three are most of them.
const MOST: usize = 4;

impl View<'_> {
    /// The likeliest places at which the target refuses a token whose runner-up is known; no more than the drafters can
    /// compute drafts for at the same time, in forwards of little more than one draft's price.
    pub(super) fn refusals(&self, levels: &[Arc<Description>], draft: &[DraftToken]) -> Vec<usize> {
        let mut reached = 1.0;
        let refused = |(place, (token, source)): (usize, (&DraftToken, Source))| {
            let passes = self.acceptance.of_token(self.text, 0, (token, source));
            let refused = reached * (1.0 - passes);
            reached *= passes;
            (token.runner_up.is_some() && refused > LIKELY).then_some((refused, place))
        };
        let mut refusals: Vec<_> = Source::along(draft)
            .enumerate()
            .filter_map(refused)
            .collect();
        refusals.sort_by(|a, b| b.0.total_cmp(&a.0));
        refusals.truncate(self.beside(levels));
        refusals.into_iter().map(|(_, place)| place).collect()
    }

    /// How many drafts fit into the forwards of every drafter beside one.
    fn beside(&self, levels: &[Arc<Description>]) -> usize {
        let drafts = |level: usize| {
            let rows = 1 + assist(levels, level);
            (levels[level].rows as f64 / (rows as f64 * self.load)) as usize
        };
        let neural = (1..levels.len()).filter(|&level| levels[level].kind == Kind::Neural);
        neural
            .map(drafts)
            .min()
            .unwrap_or(0)
            .saturating_sub(1)
            .min(MOST)
    }
}
