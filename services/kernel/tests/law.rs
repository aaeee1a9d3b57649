//! The law: a row's bits depend on the row alone, and every instruction set gives the portable code's bits.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::convert::Infallible;

use csd_kernel::{Cache, Compute, Heads, Isa, Kind, Matrix, Product};
use proptest::prelude::*;

/// Numbers of very different sizes, the same for the same seed.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count)
        .map(|index| next() * if index % 13 == 0 { 8.0 } else { 1.0 })
        .collect()
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// Every instruction set of this processor; says aloud which are left out.
fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| {
        if !isa.available() {
            println!("skipped: this processor has no {isa:?}");
        }
        isa.available()
    })
}

fn compute(isa: Isa, threads: usize) -> Compute {
    Compute::with_isa(threads, isa).unwrap()
}

fn pack(kind: Kind, outputs: usize, inputs: usize, seed: u64) -> Matrix {
    let weights = numbers(seed, outputs * inputs);
    Matrix::pack(kind, outputs, inputs, |output, row| {
        row.copy_from_slice(&weights[output * inputs..][..inputs]);
        Ok::<(), Infallible>(())
    })
    .unwrap()
}

fn product(compute: &mut Compute, matrix: &Matrix, x: &[f32], rows: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows * matrix.outputs()];
    compute.multiply(matrix, x, rows, &mut out);
    out
}

/// A kind and a shape that it takes.
fn shape() -> impl Strategy<Value = (Kind, usize, usize)> {
    (
        prop::sample::select(&Kind::ALL[..]),
        1..100usize,
        1..700usize,
    )
        .prop_map(|(kind, outputs, inputs)| match kind {
            Kind::F32 | Kind::Bf16 => (kind, outputs, inputs),
            _ => (kind, outputs, inputs.next_multiple_of(32)),
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_product_is_the_same_alone_together_and_everywhere(
        (kind, outputs, inputs) in shape(),
        rows in 1..=33usize,
        seed: u64,
    ) {
        let matrix = pack(kind, outputs, inputs, seed);
        let x = numbers(seed ^ 7, rows * inputs);
        let reference = product(&mut compute(Isa::Portable, 1), &matrix, &x, rows);
        for isa in isas() {
            let mut compute = compute(isa, 2);
            prop_assert_eq!(bits(&product(&mut compute, &matrix, &x, rows)), bits(&reference), "{:?}", isa);
            for row in [0, rows / 2, rows - 1] {
                let alone = product(&mut compute, &matrix, &x[row * inputs..][..inputs], 1);
                prop_assert_eq!(bits(&alone), bits(&reference[row * outputs..][..outputs]), "{:?} row {}", isa, row);
            }
        }
    }

    #[test]
    fn a_product_is_the_sum_it_should_be((kind, outputs, inputs) in shape(), seed: u64) {
        let matrix = pack(kind, outputs, inputs, seed);
        let x = numbers(seed ^ 7, inputs);
        let out = product(&mut compute(Isa::detect(), 1), &matrix, &x, 1);
        let mut weights = vec![0.0; inputs];
        for (output, out) in out.into_iter().enumerate() {
            matrix.row(output, &mut weights);
            let products = || weights.iter().zip(&x).map(|(weight, x)| f64::from(*weight) * f64::from(*x));
            // Rounding for floats; half a step of 16 / 127 at every activation for the quantised kinds.
            let allowed = match kind {
                Kind::F32 | Kind::Bf16 => 1e-5 * products().map(f64::abs).sum::<f64>(),
                _ => weights.iter().map(|weight| f64::from(weight.abs()) * 8.0 / 127.0).sum::<f64>() + 1e-4,
            };
            prop_assert!((f64::from(out) - products().sum::<f64>()).abs() <= allowed, "output {}", output);
        }
    }

    #[test]
    fn weights_that_fit_16_bits_give_the_same_numbers_in_16_and_in_32(
        outputs in 1..100usize,
        inputs in 1..700usize,
        rows in 1..=17usize,
        seed: u64,
    ) {
        let narrow = pack(Kind::Bf16, outputs, inputs, seed);
        let source = |output: usize, row: &mut [f32]| {
            narrow.row(output, row);
            Ok::<(), Infallible>(())
        };
        let wide = Matrix::pack(Kind::F32, outputs, inputs, source).expect("any shape");
        let x = numbers(seed ^ 7, rows * inputs);
        for isa in isas() {
            let mut compute = compute(isa, 1);
            let (narrow, wide) = (product(&mut compute, &narrow, &x, rows), product(&mut compute, &wide, &x, rows));
            prop_assert_eq!(bits(&narrow), bits(&wide), "{:?}", isa);
        }
    }

    #[test]
    fn attention_is_the_same_alone_ragged_and_everywhere(
        kv in 1..=3usize,
        group in 1..=3usize,
        dim in prop::sample::select(&[8usize, 20, 32, 64, 96, 128][..]),
        positions in prop::collection::vec(0..200usize, 1..6),
        seed: u64,
    ) {
        let heads = Heads { query: kv * group, kv, dim };
        let caches: Vec<Cache> = positions.iter().zip(seed..).map(|(&last, seed)| cache(heads, last, seed)).collect();
        let q = numbers(seed ^ 5, positions.len() * heads.query * dim);
        let attend = |isa, threads, q: &[f32], first: usize| {
            let mut out = vec![f32::NAN; q.len()];
            compute(isa, threads).attention(heads, q, |row| (&caches[first + row], positions[first + row]), &mut out);
            out
        };
        let reference = attend(Isa::Portable, 1, &q, 0);
        let width = heads.query * dim;
        for isa in isas() {
            prop_assert_eq!(bits(&attend(isa, 2, &q, 0)), bits(&reference), "{:?}", isa);
            for row in 0..positions.len() {
                let range = row * width..(row + 1) * width;
                let alone = attend(isa, 1, &q[range.clone()], row);
                prop_assert_eq!(bits(&alone), bits(&reference[range]), "{:?} row {}", isa, row);
            }
        }
        for row in 0..positions.len() {
            let exact = softmax_attention(heads, &caches[row], positions[row], &q[row * width..][..width]);
            for (ours, exact) in reference[row * width..][..width].iter().zip(exact) {
                prop_assert!((f64::from(*ours) - exact).abs() < 2e-4, "row {}: {} for {}", row, ours, exact);
            }
        }
    }

    #[test]
    fn rows_of_norm_bias_gate_and_rope_are_the_same_everywhere(half in 1..150usize, rows in 1..5usize, seed: u64) {
        let width = 2 * half;
        let (x, weight) = (numbers(seed, rows * width), numbers(seed ^ 3, width));
        let reference = row_operations(Isa::Portable, &x, &weight);
        for isa in isas() {
            prop_assert_eq!(bits(&row_operations(isa, &x, &weight)), bits(&reference), "{:?}", isa);
            for (x, together) in x.chunks(width).zip(reference.chunks(width)) {
                prop_assert_eq!(bits(&row_operations(isa, x, &weight)), bits(together), "{:?} alone", isa);
            }
        }
        for (x, ours) in x.chunks(width).zip(reference.chunks(width)) {
            let exact = exact_row_operations(x, &weight);
            let allowed = 1e-5 * exact.iter().fold(1.0, |most: f64, exact| most.max(exact.abs()));
            for (ours, exact) in ours.iter().zip(exact) {
                prop_assert!((f64::from(*ours) - exact).abs() < allowed, "{} for {}", ours, exact);
            }
        }
    }
}

#[test]
fn every_number_of_rows_is_the_same_everywhere() {
    let (outputs, inputs) = (104, 544);
    for kind in Kind::ALL {
        let matrix = pack(kind, outputs, inputs, 5);
        let x = numbers(6, 40 * inputs);
        let reference = product(&mut compute(Isa::Portable, 1), &matrix, &x, 40);
        for isa in isas() {
            let mut compute = compute(isa, 2);
            for rows in 1..=40 {
                let out = product(&mut compute, &matrix, &x[..rows * inputs], rows);
                let expected = &reference[..rows * outputs];
                assert_eq!(bits(&out), bits(expected), "{kind:?} {isa:?} {rows} rows");
            }
        }
    }
}

#[test]
fn the_largest_weights_and_activations_overflow_nowhere() {
    let pack = |kind, weight| {
        let matrix = Matrix::pack(kind, 16, 64, |_, row| {
            row.fill(weight);
            Ok::<(), Infallible>(())
        });
        matrix.unwrap()
    };
    // No quantiser writes −128, but a file may hold it.
    let lowest = Matrix::pack_q8_0_blocks(16, 64, |_, row| {
        for block in row.chunks_mut(34) {
            block.fill(0x80);
            block[..2].copy_from_slice(&[0, 0x3c]);
        }
        Ok::<(), Infallible>(())
    });
    let matrices = [
        pack(Kind::Q8_0, 1.0),
        pack(Kind::Q8_0, -1.0),
        pack(Kind::Q4, 1.0),
        lowest.unwrap(),
    ];
    for matrix in &matrices {
        for step in 1..=16 {
            // All of one size, then only some pairs, then only some numbers of them.
            for odd in [1.0, 0.0] {
                for sign in [1.0, -1.0] {
                    let x: [f32; 64] = std::array::from_fn(|index| {
                        let size = if index % 2 == 1 { odd } else { 1.0 };
                        if index / 2 % step == 0 {
                            sign * size
                        } else {
                            0.0
                        }
                    });
                    // Alone, and in sixteen rows, which some instruction sets have other code for.
                    for rows in [1, 16] {
                        let x = x.repeat(rows);
                        let reference = product(&mut compute(Isa::Portable, 1), matrix, &x, rows);
                        for isa in isas() {
                            let out = product(&mut compute(isa, 1), matrix, &x, rows);
                            let case = format!("{isa:?} {rows} rows {step} {odd} {sign}");
                            assert_eq!(bits(&out), bits(&reference), "{case}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn threads_change_nothing_in_products_that_are_shared_out() {
    for kind in Kind::ALL {
        let [q, k, v] =
            [(800, 1), (264, 2), (264, 3)].map(|(outputs, seed)| pack(kind, outputs, 512, seed));
        for rows in [1, 9] {
            let x = numbers(4, rows * 512);
            let mut alone = compute(Isa::detect(), 1);
            let reference = [&q, &k, &v].map(|matrix| product(&mut alone, matrix, &x, rows));
            for threads in 1..=3 {
                let mut out = [&q, &k, &v].map(|matrix| vec![f32::NAN; rows * matrix.outputs()]);
                let [a, b, c] = &mut out;
                let mut products = [
                    Product::new(&q, a),
                    Product::new(&k, b),
                    Product::new(&v, c),
                ];
                compute(Isa::detect(), threads).multiply_many(&mut products, &x, rows);
                for (out, reference) in out.iter().zip(&reference) {
                    assert_eq!(
                        bits(out),
                        bits(reference),
                        "{kind:?}, {rows} rows, {threads} threads"
                    );
                }
            }
        }
    }
}

#[test]
fn threads_change_nothing_in_attention_that_is_shared_out() {
    let heads = Heads {
        query: 8,
        kv: 4,
        dim: 64,
    };
    let caches: Vec<Cache> = (0..4).map(|seed| cache(heads, 150, seed)).collect();
    let q = numbers(9, 8 * 512);
    let attend = |threads| {
        let mut out = vec![f32::NAN; q.len()];
        compute(Isa::detect(), threads).attention(
            heads,
            &q,
            |row| (&caches[row / 2], 150 - row % 2),
            &mut out,
        );
        bits(&out)
    };
    assert_eq!(attend(1), attend(2));
    assert_eq!(attend(1), attend(3));
}

#[test]
fn a_cache_cut_back_and_written_anew_is_a_fresh_one() {
    let heads = Heads {
        query: 2,
        kv: 1,
        dim: 32,
    };
    let fresh = cache(heads, 90, 1);
    // Longer, then NaN behind position 40 (what a cut leaves behind must not be read), then written again.
    let mut reused = cache(heads, 300, 1);
    let row = vec![f32::NAN; 32];
    (41..=300).for_each(|position| reused.write(position, &row, &row));
    let fork = reused.clone();
    let (mut key, mut value) = (vec![0.0; 32], vec![0.0; 32]);
    for position in 41..=90 {
        fresh.read(position, &mut key, &mut value);
        reused.write(position, &key, &value);
    }
    let q = numbers(2, 64);
    let attend = |cache: &Cache, position| {
        let mut out = vec![0.0; 64];
        compute(Isa::detect(), 1).attention(heads, &q, |_| (cache, position), &mut out);
        bits(&out)
    };
    for position in [0, 15, 40, 41, 63, 64, 90] {
        assert_eq!(
            attend(&fresh, position),
            attend(&reused, position),
            "position {position}"
        );
    }
    assert_eq!(attend(&fresh, 40), attend(&fork, 40));
}

/// A cache written up to and including position `last`.
fn cache(heads: Heads, last: usize, seed: u64) -> Cache {
    let width = heads.kv * heads.dim;
    let mut cache = Cache::new(heads.kv, heads.dim);
    for position in 0..=last {
        let row = numbers(
            seed.wrapping_mul(31).wrapping_add(position as u64),
            2 * width,
        );
        cache.write(position, &row[..width], &row[width..]);
    }
    cache
}

/// Attention by its definition, in double precision.
fn softmax_attention(heads: Heads, cache: &Cache, last: usize, q: &[f32]) -> Vec<f64> {
    let width = heads.kv * heads.dim;
    let mut out = vec![0.0; q.len()];
    let (mut key, mut value) = (vec![0.0; width], vec![0.0; width]);
    for (head, (q, out)) in q
        .chunks(heads.dim)
        .zip(out.chunks_mut(heads.dim))
        .enumerate()
    {
        let own = head / (heads.query / heads.kv) * heads.dim..;
        let mut scores = Vec::new();
        for position in 0..=last {
            cache.read(position, &mut key, &mut value);
            let dot: f64 = q
                .iter()
                .zip(&key[own.clone()])
                .map(|(q, k)| f64::from(*q) * f64::from(*k))
                .sum();
            scores.push(dot / (heads.dim as f64).sqrt());
        }
        let most = scores.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - most).exp()).sum();
        for (position, score) in scores.iter().enumerate() {
            cache.read(position, &mut key, &mut value);
            for (out, value) in out.iter_mut().zip(&value[own.clone()]) {
                *out += (score - most).exp() / sum * f64::from(*value);
            }
        }
    }
    out
}

/// Angles of one turn a pair, as for position 1.
fn angles(half: usize) -> Vec<f64> {
    (0..half)
        .map(|pair| 0.01 + pair as f64 / half as f64)
        .collect()
}

/// Norm, bias, gate, rope and residual, one after the other.
fn row_operations(isa: Isa, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let compute = compute(isa, 1);
    let angles = angles(weight.len() / 2);
    let [cos, sin] = [f64::cos, f64::sin].map(|of| {
        angles
            .iter()
            .map(|angle| of(*angle) as f32)
            .collect::<Vec<_>>()
    });
    let mut out = vec![f32::NAN; x.len()];
    compute.rms_norm(x, weight, 1e-5, &mut out);
    compute.add_bias(&mut out, weight);
    compute.silu_gate(&mut out, x);
    out.chunks_mut(weight.len())
        .for_each(|row| compute.rope(row, weight.len(), &cos, &sin));
    compute.add(&mut out, x);
    out
}

/// The same of one row, in double precision.
fn exact_row_operations(x: &[f32], weight: &[f32]) -> Vec<f64> {
    let [x, weight] = [x, weight].map(|row| {
        row.iter()
            .map(|&number| f64::from(number))
            .collect::<Vec<f64>>()
    });
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    let gated = |(x, weight): (&f64, &f64)| {
        let gate = x / (mean + 1e-5).sqrt() * weight + weight;
        gate / (1.0 + (-gate).exp()) * x
    };
    let gated: Vec<f64> = x.iter().zip(&weight).map(gated).collect();
    let half = x.len() / 2;
    let angles = angles(half);
    let turned = |index: usize| {
        let (sin, cos) = angles[index % half].sin_cos();
        let (a, b) = (gated[index % half], gated[index % half + half]);
        if index < half {
            a * cos - b * sin
        } else {
            b * cos + a * sin
        }
    };
    (0..x.len()).map(|index| turned(index) + x[index]).collect()
}
