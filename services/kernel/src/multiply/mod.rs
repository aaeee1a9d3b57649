//! Rows of activations times packed weights.

#![expect(unsafe_code, reason = "tiles write disjoint columns of one output")]

/// Calls `$function` with `$rows`, which is one of the list, as a constant.
#[cfg(target_arch = "x86_64")]
macro_rules! by_rows {
    ($rows:expr, [$($some:literal),*], $function:ident $arguments:tt) => {
        match $rows {
            $($some => $function::<$some> $arguments,)*
            rows => unreachable!("{rows} rows together"),
        }
    };
}

/// Repeats a block for `row` = 0, 1, … below the constant `rows`, which is at most 16, written out one by one.
///
/// What a loop over rows keeps in an array is in registers only if the compiler unrolls the loop, and it refuses
/// from some nine rows on: the sums then go through memory, and twelve rows cost twice as much.
#[cfg(target_arch = "x86_64")]
macro_rules! each_row {
    ($row:ident in $rows:ident $body:block) => {
        each_row!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], $row in $rows $body)
    };
    ([$($index:literal),*], $row:ident in $rows:ident $body:block) => {
        $(if $index < $rows {
            let $row: usize = $index;
            $body
        })*
    };
}
#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use std::ops::Range;

use crate::activation::{GROUP, Group, Quantised};
use crate::compute::Compute;
use crate::isa::{Isa, by_isa};
use crate::matrix::{Kind, Matrix, Tiles, float, q4, q8_0};
use crate::pool::Scatter;

/// A job under this many bytes of weights (times the rows' share) is done by the caller alone: waking a helper
/// costs more.
const ALONE_BYTES: usize = 256 << 10;
/// Bytes of weights times rows that a range of tiles has at least: some microseconds, long beside taking it,
/// short beside the wait for whoever took the last one.
const LEAST_WORK: usize = 128 << 10;
/// Tiles that a kernel takes together.
const STRIP: usize = 4;

/// One matrix of [`Compute::multiply_many`] and where its results go.
pub struct Product<'a> {
    matrix: &'a Matrix,
    out: Scatter<'a, f32>,
    len: usize,
}

impl<'a> Product<'a> {
    /// `out`: `rows × outputs`, row by row.
    pub fn new(matrix: &'a Matrix, out: &'a mut [f32]) -> Self {
        Self {
            matrix,
            len: out.len(),
            out: Scatter::new(out),
        }
    }
}

impl Compute {
    /// `out[r][o] = Σ_i matrix[o][i] · x[r][i]` for `rows` rows of `x` (`rows × inputs`, row by row).
    ///
    /// Any number of rows; the weights are read once for each sixteen. The order of the sum is written in the
    /// matrix kind's module and is the same for every row, whatever stands beside it.
    ///
    /// # Panics
    /// When a slice's length does not fit the shapes.
    pub fn multiply(&mut self, matrix: &Matrix, x: &[f32], rows: usize, out: &mut [f32]) {
        self.multiply_many(&mut [Product::new(matrix, out)], x, rows);
    }

    /// The same for several matrices that read the same `x` (query, key and value; gate and up): `x` is
    /// quantised once, and the threads are called once.
    ///
    /// # Panics
    /// When a slice's length does not fit the shapes.
    pub fn multiply_many(&mut self, products: &mut [Product<'_>], x: &[f32], rows: usize) {
        for product in products.iter() {
            assert_eq!(
                x.len(),
                rows * product.matrix.inputs(),
                "x is rows × inputs"
            );
            assert_eq!(
                product.len,
                rows * product.matrix.outputs(),
                "out is rows × outputs"
            );
        }
        if rows == 0 {
            return;
        }
        let whole = |product: &Product<'_>| matches!(product.matrix.kind(), Kind::F32 | Kind::Bf16);
        if !products.iter().all(whole) {
            self.quantised.fill(&self.pool, self.isa, x, rows);
        }
        let input = Input {
            isa: self.isa,
            x,
            rows,
            quantised: &self.quantised,
        };
        let bytes: usize = products.iter().map(|product| product.matrix.bytes()).sum();
        let tiles = products
            .iter()
            .map(|product| product.matrix.tiles.count())
            .sum();
        let tile_bytes = bytes / tiles;
        // Up to four rows the memory sets the pace.
        let least = LEAST_WORK / rows.max(4) / tile_bytes;
        let products = &*products;
        let all = |tiles: Range<usize>| {
            let mut first = 0;
            for product in products {
                let count = product.matrix.tiles.count();
                let own = tiles.start.max(first)..tiles.end.min(first + count);
                if !own.is_empty() {
                    product.tiles(&input, own.start - first..own.end - first);
                }
                first += count;
            }
        };
        if bytes * rows.div_ceil(4) < ALONE_BYTES {
            all(0..tiles);
        } else {
            self.pool.run(tiles, least, all);
        }
    }
}

/// The rows of a product, as they are and quantised.
struct Input<'a> {
    isa: Isa,
    x: &'a [f32],
    rows: usize,
    quantised: &'a Quantised,
}

impl Product<'_> {
    /// All rows times the tiles in `range`, which no other thread works on.
    fn tiles(&self, input: &Input<'_>, range: Range<usize>) {
        let Input { isa, quantised, .. } = *input;
        match &self.matrix.tiles {
            Tiles::F32(tiles) => self.each(input, range, |strip, group, sums| {
                self.floats(input, strip, group, sums, |tile, x, sums| {
                    f32(isa, tiles.tile(tile), x, sums);
                });
            }),
            Tiles::Bf16(tiles) => self.each(input, range, |strip, group, sums| {
                self.floats(input, strip, group, sums, |tile, x, sums| {
                    bf16(isa, tiles.tile(tile), x, sums);
                });
            }),
            Tiles::Q8_0(tiles) => self.each(input, range, |strip, group, sums| {
                let strip = Strip::of(strip, |tile| tiles.tile(tile));
                q8_0(isa, strip.tiles(), quantised.group(group), sums);
            }),
            Tiles::Q4(tiles) => self.each(input, range, |strip, group, sums| {
                let strip = Strip::of(strip, |tile| tiles.tile(tile));
                q4(isa, strip.tiles(), quantised.group(group), sums);
            }),
        }
    }

    /// Calls `kernel(tile, x, sums)` for each tile of a strip with the rows of a group as they are.
    fn floats(
        &self,
        input: &Input<'_>,
        strip: Range<usize>,
        group: usize,
        sums: &mut [[f32; float::WIDTH]],
        kernel: impl Fn(usize, &[f32], &mut [[f32; float::WIDTH]]),
    ) {
        let inputs = self.matrix.inputs();
        let rows = sums.len() / strip.len();
        let x = &input.x[group * GROUP * inputs..][..rows * inputs];
        for (tile, sums) in strip.zip(sums.chunks_exact_mut(rows)) {
            kernel(tile, x, sums);
        }
    }

    /// Calls `kernel(strip, group, sums)` for every few tiles and group of rows, and writes the sums (tile by tile,
    /// each row by row), without the last tile's padding, into the rows.
    fn each<const WIDTH: usize>(
        &self,
        input: &Input<'_>,
        range: Range<usize>,
        kernel: impl Fn(Range<usize>, usize, &mut [[f32; WIDTH]]),
    ) {
        let outputs = self.matrix.outputs();
        let mut sums = [[0.0; WIDTH]; STRIP * GROUP];
        for strip in range.clone().step_by(STRIP) {
            let strip = strip..range.end.min(strip + STRIP);
            for group in 0..input.rows.div_ceil(GROUP) {
                let rows = GROUP.min(input.rows - group * GROUP);
                let sums = &mut sums[..strip.len() * rows];
                kernel(strip.clone(), group, sums);
                for (index, sums) in sums.iter().enumerate() {
                    let first = (strip.start + index / rows) * WIDTH;
                    let start = (group * GROUP + index % rows) * outputs + first;
                    let width = WIDTH.min(outputs - first);
                    // SAFETY: columns of this tile, which is in one range of the job, on one thread.
                    let out = unsafe { self.out.piece(start..start + width) };
                    match out.first_chunk_mut() {
                        Some(out) => *out = *sums,
                        None => out.copy_from_slice(&sums[..width]),
                    }
                }
            }
        }
    }
}

/// Some neighbouring tiles.
struct Strip<T> {
    tiles: [T; STRIP],
    len: usize,
}

impl<T> Strip<T> {
    /// The tiles in `range`, at most [`STRIP`] and at least one.
    fn of(range: Range<usize>, tile: impl Fn(usize) -> T) -> Self {
        // The last one fills the places that are left, where nobody looks.
        let place = |index: usize| tile((range.start + index).min(range.end - 1));
        Self {
            tiles: std::array::from_fn(place),
            len: range.len(),
        }
    }

    fn tiles(&self) -> &[T] {
        &self.tiles[..self.len]
    }
}

by_isa!(f32(tile: &[float::Lane<f32>], x: &[f32], sums: &mut [[f32; float::WIDTH]]));
by_isa!(bf16(tile: &[float::Lane<half::bf16>], x: &[f32], sums: &mut [[f32; float::WIDTH]]));
by_isa!(q8_0(tiles: &[q8_0::Tile<'_>], x: Group<'_>, sums: &mut [[f32; q8_0::WIDTH]]));
by_isa!(q4(tiles: &[q4::Tile<'_>], x: Group<'_>, sums: &mut [[f32; q4::WIDTH]]));
