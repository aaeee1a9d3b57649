//! Logarithm and exponential of our own: the platform's differ in their last bits, and a last bit can change a text.
//!
//! Plain multiplications and additions in a fixed order, so every machine computes the same number.

/// e^x. Relative error below 3e-7; 0 below the range of normal numbers, saturates above.
#[inline]
pub fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 × 2^23: adding it rounds to the nearest integer
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-87.0, 88.0);
    let power = (clamped * std::f32::consts::LOG2_E + SHIFT) - SHIFT;
    let r = (clamped - power * LN2_HIGH) - power * LN2_LOW;
    let tail = ((((1.987_569_1e-4 * r + 1.398_199_9e-3) * r + 8.333_452e-3) * r + 4.166_579_6e-2)
        * r
        + 0.166_666_65)
        * r
        + 0.5;
    let mantissa = tail * r * r + r + 1.0;
    let scale = f32::from_bits(((power as i32 + 127) as u32) << 23);
    if x < -87.0 { 0.0 } else { mantissa * scale }
}

/// The natural logarithm of a positive normal number. Relative error below 1e-15.
#[inline]
pub fn ln(x: f64) -> f64 {
    const HALF_MANTISSA: u64 = 0x0006_A09E_667F_3BCD; // mantissa bits of √2
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mantissa = bits & 0x000F_FFFF_FFFF_FFFF;
    let mut base = 1023u64;
    if mantissa > HALF_MANTISSA {
        exponent += 1;
        base -= 1;
    }
    let m = f64::from_bits(mantissa | (base << 52)); // between √½ and √2
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut sum = 0.0;
    for k in (0..11).rev() {
        sum = sum * z + 1.0 / (2 * k + 1) as f64;
    }
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * sum
}

/// The log-odds of a probability, as a confidence that compares with a gap of logits; finite for every input.
pub fn log_odds(probability: f32) -> f32 {
    let p = f64::from(probability.clamp(1e-6, 1.0 - 1e-6));
    ln(p / (1.0 - p)) as f32
}

/// The sum of e^(x - shift) over a slice, in 16 interleaved partial sums added up in order.
pub fn sum_exp(values: &[f32], shift: f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let chunks = values.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += exp(x - shift);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += exp(x - shift);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_platforms() {
        let mut worst = 0.0f64;
        for step in -87_000..88_000 {
            let x = step as f32 / 1000.0;
            let truth = f64::from(x).exp();
            worst = worst.max(((f64::from(exp(x)) - truth) / truth).abs());
        }
        assert!(worst < 3e-7, "{worst}");
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(1000.0).is_finite());
    }

    #[test]
    fn ln_is_close_to_the_platforms() {
        let mut x = 1e-12f64;
        while x < 1e12 {
            let truth = x.ln();
            assert!((ln(x) - truth).abs() <= 1e-15 * truth.abs().max(1.0), "{x}");
            x *= 1.000_37;
        }
        let near_one = 1.0 - 2f64.powi(-33);
        assert!((ln(near_one) / near_one.ln() - 1.0).abs() < 1e-9);
    }
}
