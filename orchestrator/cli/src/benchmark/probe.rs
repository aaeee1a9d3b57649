//! Asking a level itself: what it would write along a text, and what its forwards take.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use csd_forecast::trace::Choices;
use csd_level::{
    Call, Context, Draft, DraftRequest, DraftToken, Lenience, Level, Sampling, Token, VerifyRequest,
};

/// How long a level may take for one call.
const PATIENCE: Duration = Duration::from_secs(60);
/// Rows of a forward that are timed at most, …
const ROWS: usize = 48;
/// … each number so often.
const TIMES: usize = 12;

/// A text: what it went on from, and what was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) prompt: &'a [Token],
    pub(crate) tokens: &'a [Token],
    pub(crate) sampling: &'a Arc<Sampling>,
}

impl Text<'_> {
    /// A call behind the first `written` tokens.
    fn call(&self, written: usize, session: u64) -> Call {
        let mut context = Context::new(self.prompt.to_vec());
        context.extend(self.tokens.iter().take(written).copied());
        Call {
            context,
            sampling: self.sampling.clone(),
            session,
            stream: 0,
            tenant: None,
            timeout: PATIENCE,
        }
    }

    /// What a level would write at each position, given the text before, and the milliseconds of each forward.
    ///
    /// # Errors
    /// Those of the level.
    pub(crate) async fn choices(
        &self,
        level: &dyn Level,
        session: u64,
    ) -> Result<(Choices, Vec<f64>)> {
        let (mut choices, mut times) = (Choices::default(), Vec::new());
        for written in 0..self.tokens.len() {
            let draft = level.draft(DraftRequest {
                call: self.call(written, session),
                wanted: 1,
                room: 1,
                assist: 0,
                lenience: Lenience::NONE,
                prospects: None,
            });
            let draft = draft.await?;
            let token = draft
                .tokens
                .first()
                .context("a level that writes nothing")?;
            choices.ids.push(token.id);
            choices.gaps.push(short(token.gap));
            choices.probabilities.push(short(token.probability));
            // The first forward reads the prompt.
            if written > 0 {
                times.push(draft.timings.forward.as_secs_f64() * 1e3);
            }
        }
        Ok((choices, times))
    }

    /// Milliseconds of a level's forwards by their rows when nothing disturbs them, rows ascending.
    ///
    /// # Errors
    /// Those of the level.
    pub(crate) async fn forward_times(
        &self,
        level: &dyn Level,
        session: u64,
    ) -> Result<Vec<(usize, f64)>> {
        let most = level.description().rows.min(self.tokens.len()).min(ROWS);
        let mut fastest: BTreeMap<usize, f64> = BTreeMap::new();
        // One number after the other, again and again: what disturbs the machine for a while disturbs none of them always.
        for _ in 0..TIMES {
            for rows in 1..=most {
                let drafted = self.tokens.iter().take(rows - 1);
                let review = level.verify(VerifyRequest {
                    call: self.call(0, session),
                    draft: Draft {
                        tokens: drafted.map(|&id| DraftToken::bare(id, 0)).collect(),
                        ..Draft::default()
                    },
                    lenience: Lenience::NONE,
                    logprobs: None,
                });
                let timings = review.await?.timings;
                // The first one reads the prompt.
                if timings.rows == rows {
                    let ms = timings.forward.as_secs_f64() * 1e3;
                    let least = fastest.entry(rows).or_insert(ms);
                    *least = least.min(ms);
                }
            }
        }
        Ok(fastest.into_iter().collect())
    }
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Four digits are enough for a file.
fn short(value: f32) -> f32 {
    (value * 1e4).round() / 1e4
}
