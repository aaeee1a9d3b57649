//! Operations of one row at a time: norm, rotary embedding, gated activation, sums.

use crate::attention::sum;
use crate::compute::Compute;
use crate::exp::exp;
use crate::isa::per_isa;

/// Numbers of the gated activation that are shared out together, and how many the caller does alone.
const UNIT: usize = 1024;
const ALONE: usize = 16_384;

impl Compute {
    /// Root mean square norm of every row of `x` (each as long as `weight`), into `out`: heads too, where a
    /// model norms each query and key head.
    ///
    /// Squares are summed by fused multiply-adds in 16 lanes (index modulo 16), then halves upon halves;
    /// `out = (x · (1 / √(sum / n + epsilon))) · weight`.
    ///
    /// # Panics
    /// When `x` and `out` are not equally many whole rows.
    pub fn rms_norm(&self, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        assert!(
            x.len() == out.len() && x.len().is_multiple_of(weight.len()),
            "x and out are rows of weight's length"
        );
        rms_norm(self.isa, x, weight, epsilon, out);
    }

    /// Turns the heads (each `dim` long) of one row in place by its position's angles: number i of the first
    /// half of the turned part together with number i of the second (the halves of GPT-NeoX).
    ///
    /// `cos` and `sin` hold one entry a pair: `dim / 2` of them, or fewer where a model turns only the first
    /// `2 × cos.len()` numbers of a head. `a' = a·cos − b·sin`, `b' = b·cos + a·sin`, each product rounded.
    ///
    /// # Panics
    /// When `row` is not whole heads, `cos` and `sin` differ in length or do not fit a head.
    pub fn rope(&self, row: &mut [f32], dim: usize, cos: &[f32], sin: &[f32]) {
        assert!(row.len().is_multiple_of(dim), "a row is whole heads");
        assert!(
            cos.len() == sin.len() && 2 * cos.len() <= dim,
            "angles are one a pair of numbers of a head"
        );
        rope(self.isa, row, dim, cos, sin);
    }

    /// `gate = silu(gate) · up`, with silu(g) = g / (1 + exp(−g)).
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn silu_gate(&self, gate: &mut [f32], up: &[f32]) {
        assert_eq!(gate.len(), up.len(), "gate and up are equally long");
        self.pool.pieces(gate, UNIT, ALONE, |first, gate| {
            silu_gate(self.isa, gate, &up[first..][..gate.len()]);
        });
    }

    /// `x = x + y`: the residual.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn add(&self, x: &mut [f32], y: &[f32]) {
        assert_eq!(x.len(), y.len(), "both sides of a sum are equally long");
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }

    /// Adds `bias` to every row of `x`.
    ///
    /// # Panics
    /// When `x` is not rows of the bias's length.
    pub fn add_bias(&self, x: &mut [f32], bias: &[f32]) {
        assert!(
            x.len().is_multiple_of(bias.len()),
            "x is rows of the bias's length"
        );
        for row in x.chunks_exact_mut(bias.len()) {
            self.add(row, bias);
        }
    }
}

per_isa! {
    fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            let mut lanes = [0.0f32; 16];
            let (chunks, rest) = x.as_chunks::<16>();
            for chunk in chunks {
                for (lane, x) in lanes.iter_mut().zip(chunk) {
                    *lane = x.mul_add(*x, *lane);
                }
            }
            for (lane, x) in lanes.iter_mut().zip(rest) {
                *lane = x.mul_add(*x, *lane);
            }
            let inverse = 1.0 / (sum(lanes) / x.len() as f32 + epsilon).sqrt();
            for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                *out = x * inverse * weight;
            }
        }
    }
}

per_isa! {
    fn rope(row: &mut [f32], dim: usize, cos: &[f32], sin: &[f32]) {
        for head in row.chunks_exact_mut(dim) {
            let (first, rest) = head.split_at_mut(cos.len());
            for (((a, b), cos), sin) in first.iter_mut().zip(rest).zip(cos).zip(sin) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
}

per_isa! {
    fn silu_gate(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp(-*gate)) * up;
        }
    }
}
