//! What do several rows cost? Prints milliseconds for 1 to 32 rows over the linear layers of a model, as a
//! ratio to one row and in gigabytes of weights a second, beside this machine's read bandwidth.
//!
//! `cargo run --release -p csd-kernel --example products -- [q8_0|q4|bf16|f32] [enlarged|target|draft|mini] [THREADS] [portable|avx2|avx512|amx]`

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::convert::Infallible;
use std::time::{Duration, Instant};

use csd_kernel::{Compute, Isa, Kind, Matrix, Product, read_bandwidth};

const ROWS: [usize; 8] = [1, 2, 4, 6, 8, 12, 16, 32];
/// How long each row count is repeated.
const REPEAT: Duration = Duration::from_millis(1200);

/// The widths of a decoder's linear layers.
struct Shape {
    layers: usize,
    hidden: usize,
    query: usize,
    key: usize,
    ffn: usize,
    vocabulary: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: &'static str| {
        arguments
            .get(index)
            .map_or(default, String::as_str)
            .to_owned()
    };
    let kind = match argument(0, "q8_0").as_str() {
        "f32" => Kind::F32,
        "bf16" => Kind::Bf16,
        "q4" => Kind::Q4,
        _ => Kind::Q8_0,
    };
    let shape = match argument(1, "enlarged").as_str() {
        "target" => Shape {
            layers: 6,
            hidden: 384,
            query: 384,
            key: 128,
            ffn: 1024,
            vocabulary: 4096,
        },
        "draft" => Shape {
            layers: 2,
            hidden: 192,
            query: 192,
            key: 64,
            ffn: 512,
            vocabulary: 4096,
        },
        "mini" => Shape {
            layers: 1,
            hidden: 96,
            query: 96,
            key: 32,
            ffn: 256,
            vocabulary: 4096,
        },
        _ => Shape {
            layers: 12,
            hidden: 1536,
            query: 1536,
            key: 512,
            ffn: 4096,
            vocabulary: 4096,
        },
    };
    let threads = argument(2, "2").parse().unwrap_or(2);
    let isa = match argument(3, "").as_str() {
        "portable" => Isa::Portable,
        "avx2" => Isa::Avx2,
        "avx512" => Isa::Avx512Vnni,
        "amx" => Isa::Amx,
        _ => Isa::detect(),
    };
    let Ok(mut compute) = Compute::with_isa(threads, isa) else {
        println!("this processor has no {isa:?}");
        return;
    };

    let model = Model::new(kind, &shape);
    println!(
        "{kind:?}, {:.1} M weights, {:.1} MB, {threads} threads, {isa:?}",
        model.weights as f64 / 1e6,
        model.bytes as f64 / 1e6
    );
    let bandwidth = read_bandwidth(threads, model.bytes);
    println!("measured read bandwidth at this size: {bandwidth:.1} GB/s");
    let mut one_row = f64::NAN;
    for rows in ROWS {
        let mut buffers = Buffers::new(&shape, rows);
        let mut times = Vec::new();
        let begin = Instant::now();
        while begin.elapsed() < REPEAT || times.len() < 5 {
            let start = Instant::now();
            model.forward(&mut compute, &mut buffers, rows);
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let (least, median) = (times[0], times[times.len() / 2]);
        if rows == 1 {
            one_row = least;
        }
        let rate = model.bytes as f64 / least / 1e6;
        println!(
            "{rows:3} rows: least {least:8.3} ms, median {median:8.3} ms, {:5.2} of one row, {rate:5.1} GB/s ({:.2} of bandwidth), {:4.0} G products/s",
            least / one_row,
            rate / bandwidth,
            (model.weights * rows) as f64 / least / 1e6,
        );
    }
}

/// The linear layers of a decoder, one head.
struct Model {
    layers: Vec<[Matrix; 7]>,
    head: Matrix,
    weights: usize,
    bytes: usize,
}

struct Buffers {
    hidden: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    logits: Vec<f32>,
}

impl Buffers {
    fn new(shape: &Shape, rows: usize) -> Self {
        let values = |width: usize| {
            (0..rows * width)
                .map(|index| ((index * 37 % 101) as f32 - 50.0) / 50.0)
                .collect()
        };
        Self {
            hidden: values(shape.hidden),
            query: values(shape.query),
            key: values(shape.key),
            value: values(shape.key),
            gate: values(shape.ffn),
            up: values(shape.ffn),
            logits: values(shape.vocabulary),
        }
    }
}

impl Model {
    fn new(kind: Kind, shape: &Shape) -> Self {
        let matrix = |outputs, inputs| matrix(kind, outputs, inputs);
        let (hidden, query, key, ffn) = (shape.hidden, shape.query, shape.key, shape.ffn);
        let layer = || {
            let [q, k, v] = [query, key, key].map(|outputs| matrix(outputs, hidden));
            [
                q,
                k,
                v,
                matrix(hidden, query),
                matrix(ffn, hidden),
                matrix(ffn, hidden),
                matrix(hidden, ffn),
            ]
        };
        let layers: Vec<_> = (0..shape.layers).map(|_| layer()).collect();
        let head = matrix(shape.vocabulary, hidden);
        let sum =
            |of: fn(&Matrix) -> usize| layers.iter().flatten().map(of).sum::<usize>() + of(&head);
        let (weights, bytes) = (
            sum(|matrix| matrix.outputs() * matrix.inputs()),
            sum(Matrix::bytes),
        );
        Self {
            layers,
            head,
            weights,
            bytes,
        }
    }

    fn forward(&self, compute: &mut Compute, buffers: &mut Buffers, rows: usize) {
        for [q, k, v, output, gate, up, down] in &self.layers {
            let Buffers {
                hidden,
                query,
                key,
                value,
                ..
            } = buffers;
            compute.multiply_many(
                &mut [
                    Product::new(q, query),
                    Product::new(k, key),
                    Product::new(v, value),
                ],
                hidden,
                rows,
            );
            compute.multiply(output, &buffers.query, rows, &mut buffers.hidden);
            let Buffers {
                hidden,
                gate: gated,
                up: upper,
                ..
            } = buffers;
            compute.multiply_many(
                &mut [Product::new(gate, gated), Product::new(up, upper)],
                hidden,
                rows,
            );
            compute.multiply(down, &buffers.gate, rows, &mut buffers.hidden);
        }
        compute.multiply(&self.head, &buffers.hidden, rows, &mut buffers.logits);
    }
}

/// Small weights, so that no number grows from layer to layer.
fn matrix(kind: Kind, outputs: usize, inputs: usize) -> Matrix {
    let packed = match kind {
        Kind::Q8_0 => Matrix::pack_q8_0_blocks::<Infallible>(outputs, inputs, |output, row| {
            for (block, bytes) in row.chunks_exact_mut(34).enumerate() {
                bytes[..2].copy_from_slice(&[0, 0x04]);
                bytes[2..].iter_mut().enumerate().for_each(|(index, byte)| {
                    *byte = ((output * 7 + block * 3 + index * 31) % 255) as u8
                });
            }
            Ok(())
        }),
        _ => Matrix::pack::<Infallible>(kind, outputs, inputs, |output, row| {
            row.iter_mut().enumerate().for_each(|(index, weight)| {
                *weight = ((output * 7 + index * 31) % 255) as f32 * 1e-4 - 0.0127
            });
            Ok(())
        }),
    };
    match packed {
        Ok(matrix) => matrix,
        Err(error) => unreachable!("the shapes above are whole blocks: {error}"),
    }
}
