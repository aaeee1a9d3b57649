//! Randomness that is a function of its place.
//!
//! A counter-based generator: the noise of a token at a position needs no state, so every level, replica and retry finds
//! the same value. The bits are SplitMix64's (Steele et al., 2014), started at a mix of seed, purpose and position and
//! read at the index of the token.

use crate::{Token, elementary::ln};

/// What random bits are used for. Streams of different purposes are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Gumbel noise of coupled sampling, shared by all levels.
    Coupling,
    /// Drawing a token of one's own, by level.
    Own(u8),
    /// Accepting a drafted token in rejection sampling, by level.
    Accept(u8),
    /// Drawing from the residual after a refusal, by level.
    Residual(u8),
}

impl Purpose {
    fn number(self) -> u64 {
        match self {
            Self::Coupling => 0,
            Self::Own(level) => 0x100 + u64::from(level),
            Self::Accept(level) => 0x200 + u64::from(level),
            Self::Residual(level) => 0x300 + u64::from(level),
        }
    }
}

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// The noise of one position.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    key: u64,
}

impl Noise {
    /// The noise of an absolute position for one purpose.
    pub fn new(seed: u64, position: usize, purpose: Purpose) -> Self {
        let key = mix(mix(seed.wrapping_add(STEP)) ^ purpose.number().wrapping_mul(STEP));
        Self {
            key: mix(key.wrapping_add((position as u64).wrapping_mul(STEP))),
        }
    }

    /// 32 random bits of a token.
    #[inline]
    pub fn bits(self, token: Token) -> u32 {
        (mix(self
            .key
            .wrapping_add((u64::from(token) + 1).wrapping_mul(STEP)))
            >> 32) as u32
    }

    /// A uniform number strictly between 0 and 1.
    pub fn uniform(self) -> f64 {
        (f64::from(self.bits(0)) + 0.5) / 4_294_967_296.0
    }

    /// Standard Gumbel noise from 32 bits: -ln(-ln(1 - v)), v = (bits + ½)/2³². Small bits make large noise.
    #[inline]
    pub fn gumbel(bits: u32) -> f32 {
        let u = 1.0 - (f64::from(bits) + 0.5) / 4_294_967_296.0;
        -ln(-ln(u)) as f32
    }

    /// A bound that [`Noise::gumbel`] of the same bits never exceeds, without a logarithm: -ln(-ln(1-v)) < -ln v, and v
    /// has at least as many leading zero bits as the integer.
    #[inline]
    pub fn gumbel_bound(bits: u32) -> f32 {
        (bits.leading_zeros() + 1) as f32 * 0.693_148 + 1e-4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gumbel_has_its_mean_variance_and_bound() {
        let noise = Noise::new(7, 3, Purpose::Coupling);
        let (mut sum, mut squares, count) = (0.0f64, 0.0f64, 1_000_000u32);
        for token in 0..count {
            let bits = noise.bits(token);
            let g = Noise::gumbel(bits);
            assert!(
                g.is_finite() && g <= Noise::gumbel_bound(bits),
                "{bits}: {g}"
            );
            sum += f64::from(g);
            squares += f64::from(g) * f64::from(g);
        }
        let mean = sum / f64::from(count);
        let variance = squares / f64::from(count) - mean * mean;
        assert!((mean - 0.577_216).abs() < 0.005, "{mean}");
        assert!((variance - 1.644_934).abs() < 0.02, "{variance}");
    }

    #[test]
    fn the_extremes_are_finite_and_bounded() {
        for bits in [0, 1, 2, u32::MAX - 1, u32::MAX, 1 << 31] {
            let g = Noise::gumbel(bits);
            assert!(
                g.is_finite() && g <= Noise::gumbel_bound(bits),
                "{bits}: {g}"
            );
        }
    }

    #[test]
    fn neighbouring_places_are_unrelated() {
        let at = |seed, position, purpose| Noise::new(seed, position, purpose).uniform();
        let base = at(1, 1, Purpose::Own(1));
        for other in [
            at(2, 1, Purpose::Own(1)),
            at(1, 2, Purpose::Own(1)),
            at(1, 1, Purpose::Own(2)),
            at(1, 1, Purpose::Accept(1)),
        ] {
            assert_ne!(base, other);
        }
    }
}
