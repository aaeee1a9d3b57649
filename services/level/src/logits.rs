//! From a model's raw logits to the scores that a token is chosen by, identically at every level.
//!
//! The order is fixed: repetition, frequency and presence penalties, then bias, then end tokens that come too early
//! ("penalised"), then temperature, top-k, top-p and min-p ("shaped"). Ties, also at the edge of top-k and top-p, go to the lowest token id.

use std::collections::HashMap;

use crate::{
    Context, Sampling, Token,
    choice::choose,
    elementary::{exp, sum_exp},
};

/// Processes the rows of one review in turn; remembers the tokens that penalties count.
#[derive(Debug)]
pub struct Processor<'a> {
    sampling: &'a Sampling,
    /// Tokens of prompt and text, with how often each was generated. Empty without penalties.
    seen: HashMap<Token, u32>,
    /// How many tokens have been generated.
    generated: usize,
}

/// A row after penalties and bias, with its normaliser at temperature 1.
#[derive(Debug)]
pub struct Penalised<'a> {
    logits: &'a [f32],
    max: f32,
    sum: f32,
}

impl<'a> Processor<'a> {
    /// Starts at the end of a context.
    pub fn new(sampling: &'a Sampling, context: &Context) -> Self {
        let mut seen = HashMap::new();
        if sampling.has_penalties() {
            for &token in &context.tokens()[..context.prompt_len()] {
                seen.entry(token).or_insert(0);
            }
            for &token in context.generated() {
                *seen.entry(token).or_insert(0) += 1;
            }
        }
        Self {
            sampling,
            seen,
            generated: context.generated().len(),
        }
    }

    /// Counts one more generated token.
    pub fn push(&mut self, token: Token) {
        self.generated += 1;
        if self.sampling.has_penalties() {
            *self.seen.entry(token).or_insert(0) += 1;
        }
    }

    /// Applies penalties and bias in place, and bars end tokens that come too early. `logits` holds the real vocabulary only, padding cut off.
    pub fn penalise<'b>(&self, logits: &'b mut [f32]) -> Penalised<'b> {
        let sampling = self.sampling;
        for (&token, &count) in &self.seen {
            let Some(logit) = logits.get_mut(token as usize) else {
                continue;
            };
            let penalty = sampling.repetition_penalty;
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
            *logit -= count as f32 * sampling.frequency_penalty;
            if count > 0 {
                *logit -= sampling.presence_penalty;
            }
        }
        for &(token, bias) in &sampling.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
        if self.generated < sampling.min_tokens as usize {
            for &token in &sampling.end_tokens {
                if let Some(logit) = logits.get_mut(token as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Penalised {
            max,
            sum: sum_exp(logits, max),
            logits,
        }
    }

    /// Scales and truncates into `shaped`: scores of tokens that may be chosen, negative infinity elsewhere. At
    /// temperature 0 the logits themselves.
    pub fn shape(&self, penalised: &Penalised<'_>, shaped: &mut Vec<f32>) {
        let sampling = self.sampling;
        shaped.clear();
        if sampling.temperature == 0.0 {
            shaped.extend_from_slice(penalised.logits);
            return;
        }
        shaped.extend(
            penalised
                .logits
                .iter()
                .map(|&logit| (logit - penalised.max) / sampling.temperature),
        );
        if let Some(k) = sampling.top_k {
            keep_top_k(shaped, k as usize);
        }
        if sampling.top_p < 1.0 {
            keep_top_p(shaped, sampling.top_p);
        }
        if sampling.min_p > 0.0 {
            for score in shaped
                .iter_mut()
                .filter(|score| exp(**score) < sampling.min_p)
            {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

impl Penalised<'_> {
    /// The probability of a token at temperature 1; 0 outside the vocabulary.
    pub fn probability(&self, token: Token) -> f32 {
        self.logits
            .get(token as usize)
            .map_or(0.0, |&logit| exp(logit - self.max) / self.sum)
    }
}

/// The `count` best tokens, best first; ties to the lowest id.
pub(crate) fn best(scores: &[f32], count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32)
        .filter(|&i| scores[i as usize] > f32::NEG_INFINITY)
        .collect();
    let compare = |&a: &u32, &b: &u32| {
        scores[b as usize]
            .total_cmp(&scores[a as usize])
            .then(a.cmp(&b))
    };
    if count < order.len() {
        order.select_nth_unstable_by(count, compare);
        order.truncate(count);
    }
    order.sort_unstable_by(compare);
    order
}

fn keep(scores: &mut [f32], kept: &[u32]) {
    let values: Vec<f32> = kept.iter().map(|&token| scores[token as usize]).collect();
    scores.fill(f32::NEG_INFINITY);
    for (&token, value) in kept.iter().zip(values) {
        scores[token as usize] = value;
    }
}

/// Keeps the `k` highest scores.
pub(crate) fn keep_top_k(scores: &mut [f32], k: usize) {
    if k < scores.len() {
        let kept = best(scores, k);
        keep(scores, &kept);
    }
}

/// Keeps the most likely tokens until their mass reaches `p`. Scores are relative to a maximum of 0.
fn keep_top_p(scores: &mut [f32], p: f32) {
    let sum = sum_exp(scores, 0.0);
    // Tokens below this share cannot be in the set: together they have less mass than is left out.
    let floor = (1.0 - p) / scores.len() as f32 * sum * 0.999;
    let candidates: Vec<f32> = scores
        .iter()
        .map(|&score| {
            if exp(score) < floor {
                f32::NEG_INFINITY
            } else {
                score
            }
        })
        .collect();
    let mut kept = best(&candidates, candidates.len());
    let mut mass = 0.0;
    let reached = kept.iter().position(|&token| {
        mass += exp(scores[token as usize]);
        mass >= p * sum
    });
    kept.truncate(reached.map_or(kept.len(), |last| last + 1));
    keep(scores, &kept);
}

/// Turns shaped scores into probabilities in place: softmax, or at temperature 0 all mass on the best.
pub(crate) fn normalise(scores: &mut [f32], temperature: f32) {
    if temperature == 0.0 {
        let best = choose(scores, None).token as usize;
        scores.fill(0.0);
        if let Some(score) = scores.get_mut(best) {
            *score = 1.0;
        }
        return;
    }
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum = sum_exp(scores, max);
    for score in scores {
        *score = exp(*score - max) / sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(sampling: &Sampling, logits: &[f32]) -> Vec<f32> {
        let processor = Processor::new(sampling, &Context::new(vec![0]));
        let mut row = logits.to_vec();
        let penalised = processor.penalise(&mut row);
        let mut out = Vec::new();
        processor.shape(&penalised, &mut out);
        out
    }

    fn kept(sampling: &Sampling, logits: &[f32]) -> Vec<usize> {
        shaped(sampling, logits)
            .iter()
            .enumerate()
            .filter(|(_, s)| s.is_finite())
            .map(|(i, _)| i)
            .collect()
    }

    #[test]
    fn truncation_keeps_the_right_tokens_and_breaks_ties_by_id() {
        let logits = [1.0, 3.0, 3.0, 2.0, 3.0];
        let base = Sampling {
            temperature: 1.0,
            ..Sampling::default()
        };
        assert_eq!(
            kept(
                &Sampling {
                    top_k: Some(2),
                    ..base.clone()
                },
                &logits
            ),
            [1, 2]
        );
        assert_eq!(
            kept(
                &Sampling {
                    top_p: 0.3,
                    ..base.clone()
                },
                &logits
            ),
            [1, 2]
        );
        assert_eq!(
            kept(
                &Sampling {
                    top_p: 0.01,
                    ..base.clone()
                },
                &logits
            ),
            [1]
        );
        assert_eq!(
            kept(
                &Sampling {
                    min_p: 0.3,
                    ..base.clone()
                },
                &logits
            ),
            [1, 2, 3, 4]
        );
        assert_eq!(kept(&base, &logits).len(), 5);
    }

    #[test]
    fn penalties_count_prompt_and_text_apart() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            frequency_penalty: 0.5,
            presence_penalty: 0.25,
            ..Sampling::default()
        };
        let context = Context::from_parts(vec![0, 1, 1], 1).expect("three tokens");
        let mut processor = Processor::new(&sampling, &context);
        processor.push(2);
        let mut row = [4.0, 4.0, -4.0, 4.0];
        processor.penalise(&mut row);
        assert_eq!(row, [2.0, 2.0 - 1.0 - 0.25, -8.0 - 0.5 - 0.25, 4.0]);
    }

    #[test]
    fn end_tokens_are_barred_until_enough_is_generated() {
        let sampling = Sampling {
            end_tokens: vec![1],
            min_tokens: 2,
            logit_bias: vec![(1, 50.0)],
            ..Sampling::default()
        };
        let context = Context::from_parts(vec![0, 0], 1).expect("two tokens");
        let mut processor = Processor::new(&sampling, &context);
        let chosen = |processor: &Processor<'_>| {
            let mut row = [1.0, 2.0, 3.0];
            choose(processor.penalise(&mut row).logits, None).token
        };
        assert_eq!(chosen(&processor), 2);
        processor.push(2);
        assert_eq!(chosen(&processor), 1);
    }
}
