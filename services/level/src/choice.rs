//! The token that scores choose, and the one they would choose next.

use crate::{Token, noise::Noise};

/// The chosen token and how clearly it won.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The token.
    pub token: Token,
    /// Best score minus second best; 0 when there is no second.
    pub gap: f32,
    /// The second best.
    pub runner_up: Option<Token>,
}

/// The two best of `score + noise(token)`; without noise, of the scores.
///
/// Almost every token is passed over without a logarithm: its noise has a bound that its leading zero bits tell.
pub fn choose(scores: &[f32], noise: Option<Noise>) -> Choice {
    let mut first = (f32::NEG_INFINITY, 0u32);
    let mut second = first;
    let mut offer = |score: f32, token: u32| {
        if score > first.0 || (score == first.0 && token < first.1) {
            second = first;
            first = (score, token);
        } else if score > second.0 {
            second = (score, token);
        }
        second.0
    };
    match noise {
        None => {
            for (token, &score) in (0u32..).zip(scores) {
                offer(score, token);
            }
        }
        Some(noise) => {
            let mut runner_up = f32::NEG_INFINITY;
            for (token, &score) in (0u32..).zip(scores) {
                // Gumbel noise from 32 bits stays below 22.9.
                if score + 22.9 < runner_up || score == f32::NEG_INFINITY {
                    continue;
                }
                let bits = noise.bits(token);
                if score + Noise::gumbel_bound(bits) >= runner_up {
                    runner_up = offer(score + Noise::gumbel(bits), token);
                }
            }
        }
    }
    let runner_up = (second.0 > f32::NEG_INFINITY).then_some(second);
    Choice {
        token: first.1,
        gap: runner_up.map_or(0.0, |(score, _)| first.0 - score),
        runner_up: runner_up.map(|(_, token)| token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Purpose;

    #[test]
    fn the_shortcut_of_choose_changes_nothing() {
        for position in 0..200 {
            let noise = Noise::new(11, position, Purpose::Coupling);
            let scores: Vec<f32> = (0..500)
                .map(|i| ((i * 37 + position * 11) % 101) as f32 / 9.0)
                .collect();
            let mut all: Vec<(f32, u32)> = (0u32..)
                .zip(&scores)
                .map(|(t, &s)| (s + Noise::gumbel(noise.bits(t)), t))
                .collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let choice = choose(&scores, Some(noise));
            assert_eq!((choice.token, choice.gap), (all[0].1, all[0].0 - all[1].0));
            assert_eq!(choice.runner_up, Some(all[1].1));
        }
    }

    #[test]
    fn ties_go_to_the_lowest_id() {
        let tied = Choice {
            token: 1,
            gap: 0.0,
            runner_up: Some(2),
        };
        assert_eq!(choose(&[1.0, 2.0, 2.0], None), tied);
        assert_eq!(choose(&[f32::NAN, f32::NAN], None).token, 0);
    }
}
