//! The products of one tile in plain Rust: the reference that the other instruction sets are held to.

use half::{bf16, f16};

use crate::activation::Group;
use crate::matrix::{
    float::{self, Float},
    q4, q8_0,
};

/// `sums[r]` = row r of `x` times the tile; a row is as many inputs as the tile has lanes.
pub(crate) fn f32(tile: &[float::Lane<f32>], x: &[f32], sums: &mut [[f32; float::WIDTH]]) {
    floats(tile, x, sums);
}

/// The same with weights of 16 bits.
pub(crate) fn bf16(tile: &[float::Lane<bf16>], x: &[f32], sums: &mut [[f32; float::WIDTH]]) {
    floats(tile, x, sums);
}

fn floats<W: Float>(tile: &[float::Lane<W>], x: &[f32], sums: &mut [[f32; float::WIDTH]]) {
    for (x, sums) in x.chunks_exact(tile.len()).zip(sums) {
        *sums = [0.0; float::WIDTH];
        for (lane, x) in tile.iter().zip(x) {
            for (sum, weight) in sums.iter_mut().zip(lane.0) {
                *sum = weight.widen().mul_add(*x, *sum);
            }
        }
    }
}

/// `sums[t * rows + r]` = row r of the group times tile t.
pub(crate) fn q8_0(tiles: &[q8_0::Tile<'_>], x: Group<'_>, sums: &mut [[f32; q8_0::WIDTH]]) {
    for (tile, sums) in tiles.iter().zip(sums.chunks_exact_mut(x.rows)) {
        sums.fill([0.0; q8_0::WIDTH]);
        for ((quants, scales), x) in tile
            .quants
            .iter()
            .zip(tile.scales)
            .zip(x.blocks.chunks_exact(x.rows))
        {
            for (sums, x) in sums.iter_mut().zip(x) {
                for (output, sum) in sums.iter_mut().enumerate() {
                    let products = x.quants.iter().enumerate().map(|(input, &x)| {
                        let weight = i32::from(quants.0[input / 4][output][input % 4]) - 128;
                        weight * i32::from(x)
                    });
                    let scale = f16::from_bits(scales.0[output]).to_f32() * x.scale;
                    *sum = (products.sum::<i32>() as f32).mul_add(scale, *sum);
                }
            }
        }
    }
}

/// `sums[t * rows + r]` = row r of the group times tile t.
pub(crate) fn q4(tiles: &[q4::Tile<'_>], x: Group<'_>, sums: &mut [[f32; q4::WIDTH]]) {
    for (tile, sums) in tiles.iter().zip(sums.chunks_exact_mut(x.rows)) {
        sums.fill([0.0; q4::WIDTH]);
        for ((quants, scales), x) in tile
            .quants
            .iter()
            .zip(tile.scales)
            .zip(x.blocks.chunks_exact(x.rows))
        {
            for (sums, x) in sums.iter_mut().zip(x) {
                for (output, sum) in sums.iter_mut().enumerate() {
                    let products = x.quants.iter().enumerate();
                    let products = products
                        .map(|(input, &x)| i32::from(quants.get(output, input)) * i32::from(x));
                    let [scale, minimum] = [scales.scales, scales.minima]
                        .map(|bits| f16::from_bits(bits[output]).to_f32());
                    *sum = (products.sum::<i32>() as f32).mul_add(scale * x.scale, *sum);
                    *sum = (-minimum).mul_add(x.total, *sum);
                }
            }
        }
    }
}
