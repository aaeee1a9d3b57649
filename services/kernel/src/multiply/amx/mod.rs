//! The products of some neighbouring tiles with AMX beside AVX-512: the same bits as `portable`.
//!
//! A block of weights as it is stored is what `tdpbsud` takes on its right, the same block of up to sixteen rows what
//! it takes on its left; it adds 8192 products at once. The integer sums go through a little memory, so that the
//! vector units turn those of one block into floats while the next block is being multiplied.
//!
//! Some blocks are walked for all tiles before the next blocks: the rows' part stays in the first cache meanwhile, and
//! memory is asked for just the blocks that come next. AMX's registers are shaped at the start of a call and given up
//! at its end, which takes 50 nanoseconds of several microseconds.

#![expect(
    unsafe_code,
    reason = "intrinsics that load and store through pointers"
)]

mod registers;

use std::arch::x86_64::*;
use std::ops::Range;

use self::registers::{Registers, Wholes};
use super::avx512;
pub(crate) use super::avx512::{bf16, f32};
use crate::activation::Group;
use crate::matrix::{BLOCK, q4, q8_0};

/// Up to so many rows AVX-512, which has less to do before and after a block, is at least as quick.
const FEW: usize = 8;
/// Blocks that are walked together: 12 KiB of sixteen rows, 8 KiB of 8-bit weights.
const TOGETHER: usize = 16;

/// See [`super::portable::q8_0`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn q8_0(tiles: &[q8_0::Tile<'_>], x: Group<'_>, sums: &mut [[f32; q8_0::WIDTH]]) {
    if x.rows <= FEW {
        return avx512::q8_0(tiles, x, sums);
    }
    sums.fill([0.0; q8_0::WIDTH]);
    let registers = Registers::shaped(x.rows);
    for Part {
        tile,
        blocks,
        next,
        later,
    } in parts(tiles.len(), x.blocks.len() / x.rows)
    {
        let part = q8_0::Tile {
            quants: &tiles[tile].quants[blocks.clone()],
            scales: &tiles[tile].scales[blocks.clone()],
        };
        let next = tiles[next.0].quants.as_ptr().wrapping_add(next.1);
        let later = tiles[tile].quants.as_ptr().wrapping_add(later);
        let sums = &mut sums[tile * x.rows..][..x.rows];
        let x = Group {
            rows: x.rows,
            blocks: &x.blocks[blocks.start * x.rows..blocks.end * x.rows],
        };
        by_rows!(
            x.rows,
            [9, 10, 11, 12, 13, 14, 15, 16],
            q8_0_rows(&registers, part, x, [next, later], sums)
        );
    }
}

/// Adds some blocks to `ROWS` rows of sums, which stand in registers meanwhile.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn q8_0_rows<const ROWS: usize>(
    registers: &Registers,
    part: q8_0::Tile<'_>,
    x: Group<'_>,
    wanted: [*const q8_0::Quants; 2],
    sums: &mut [[f32; q8_0::WIDTH]],
) {
    let x = x.blocks.as_chunks::<ROWS>().0;
    let mut sum = load::<ROWS>(sums);
    let mut wholes = [const { Wholes([[0; 16]; ROWS]) }; 2];
    let mut ahead = part.quants.iter().zip(x);
    let mut multiply = |into: &mut Wholes<ROWS>| {
        if let Some((quants, x)) = ahead.next() {
            registers.multiply(&quants.0, x, into);
        }
    };
    multiply(&mut wholes[0]);
    for (block, (scales, x)) in part.scales.iter().zip(x).enumerate() {
        multiply(&mut wholes[(block + 1) % 2]);
        prefetch(wanted, block);
        // SAFETY: 32 aligned bytes of scales, 64 of sums.
        unsafe {
            let scales = _mm512_cvtph_ps(_mm256_load_si256(scales.0.as_ptr().cast()));
            for ((whole, x), sum) in wholes[block % 2].0.iter().zip(x).zip(&mut sum) {
                let whole = _mm512_load_si512(whole.as_ptr().cast());
                let whole = _mm512_add_epi32(whole, _mm512_set1_epi32(x.correction));
                let scale = _mm512_mul_ps(scales, _mm512_set1_ps(x.scale));
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, *sum);
            }
        }
    }
    store(&sum, sums);
}

/// See [`super::portable::q4`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn q4(tiles: &[q4::Tile<'_>], x: Group<'_>, sums: &mut [[f32; q4::WIDTH]]) {
    if x.rows <= FEW {
        return avx512::q4(tiles, x, sums);
    }
    sums.fill([0.0; q4::WIDTH]);
    let registers = Registers::shaped(x.rows);
    for Part {
        tile,
        blocks,
        next,
        later,
    } in parts(tiles.len(), x.blocks.len() / x.rows)
    {
        let part = q4::Tile {
            quants: &tiles[tile].quants[blocks.clone()],
            scales: &tiles[tile].scales[blocks.clone()],
        };
        let next = tiles[next.0].quants.as_ptr().wrapping_add(next.1);
        let later = tiles[tile].quants.as_ptr().wrapping_add(later);
        let sums = &mut sums[tile * x.rows..][..x.rows];
        let x = Group {
            rows: x.rows,
            blocks: &x.blocks[blocks.start * x.rows..blocks.end * x.rows],
        };
        by_rows!(
            x.rows,
            [9, 10, 11, 12, 13, 14, 15, 16],
            q4_rows(&registers, part, x, [next, later], sums)
        );
    }
}

/// Adds some blocks to `ROWS` rows of sums, which stand in registers meanwhile.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn q4_rows<const ROWS: usize>(
    registers: &Registers,
    part: q4::Tile<'_>,
    x: Group<'_>,
    wanted: [*const q4::Quants; 2],
    sums: &mut [[f32; q4::WIDTH]],
) {
    let x = x.blocks.as_chunks::<ROWS>().0;
    let mut sum = load::<ROWS>(sums);
    let mut wholes = [const { Wholes([[0; 16]; ROWS]) }; 2];
    let mut weights = [const { Weights([[[0; 4]; 16]; BLOCK / 4]) }; 2];
    let mut ahead = part.quants.iter().zip(x).enumerate();
    let mut multiply = |into: &mut Wholes<ROWS>| {
        if let Some((block, (quants, x))) = ahead.next() {
            let weights = &mut weights[block % 2];
            widen(quants, weights);
            registers.multiply(&weights.0, x, into);
        }
    };
    multiply(&mut wholes[0]);
    for (block, (scales, x)) in part.scales.iter().zip(x).enumerate() {
        multiply(&mut wholes[(block + 1) % 2]);
        prefetch(wanted, block);
        // SAFETY: 32 aligned bytes of scales and of minima, 64 of sums.
        unsafe {
            let halves =
                |bits: &[u16; 16]| _mm512_cvtph_ps(_mm256_load_si256(bits.as_ptr().cast()));
            let (scales, minima) = (halves(&scales.scales), halves(&scales.minima));
            for ((whole, x), sum) in wholes[block % 2].0.iter().zip(x).zip(&mut sum) {
                let whole = _mm512_load_si512(whole.as_ptr().cast());
                let scale = _mm512_mul_ps(scales, _mm512_set1_ps(x.scale));
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, *sum);
                *sum = _mm512_fnmadd_ps(minima, _mm512_set1_ps(x.total), *sum);
            }
        }
    }
    store(&sum, sums);
}

/// The weights of a block, a byte each.
#[repr(C, align(64))]
struct Weights([[[u8; 4]; 16]; BLOCK / 4]);

/// Writes each of a block's weights into a byte of its own.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn widen(quants: &q4::Quants, weights: &mut Weights) {
    let four_bits = _mm512_set1_epi8(0xf);
    for (both, [first, second]) in quants.0.iter().zip(weights.0.as_chunks_mut::<2>().0) {
        // SAFETY: 64 bytes each, aligned as their arrays are.
        unsafe {
            let both = _mm512_load_si512(both.as_ptr().cast());
            let high = _mm512_srli_epi16::<4>(both);
            _mm512_store_si512(first.as_mut_ptr().cast(), _mm512_and_si512(both, four_bits));
            _mm512_store_si512(
                second.as_mut_ptr().cast(),
                _mm512_and_si512(high, four_bits),
            );
        }
    }
}

/// Some blocks of one tile on the way through all tiles.
struct Part {
    tile: usize,
    blocks: Range<usize>,
    /// The tile and the block where the way goes on.
    next: (usize, usize),
    /// The block that stands in this tile's place in the next part; behind the tile's last one it is counted on
    /// through the tiles, to the one that takes this one's place in the next call.
    later: usize,
}

/// All blocks of all tiles: some blocks of every tile, then the next blocks.
fn parts(tiles: usize, blocks: usize) -> impl Iterator<Item = Part> {
    (0..blocks).step_by(TOGETHER).flat_map(move |first| {
        let end = blocks.min(first + TOGETHER);
        (0..tiles).map(move |tile| Part {
            tile,
            blocks: first..end,
            next: match tile + 1 {
                next if next < tiles => (next, first),
                _ if end < blocks => (0, end),
                // Behind the last tile stands the one that the next call begins with.
                _ => (tile, blocks),
            },
            later: if end < blocks { end } else { tiles * blocks },
        })
    })
}

/// The sums of `ROWS` rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn load<const ROWS: usize>(sums: &[[f32; 16]]) -> [__m512; ROWS] {
    let sums: &[[f32; 16]; ROWS] = sums.first_chunk().expect("sums of every row");
    // SAFETY: 16 floats.
    std::array::from_fn(|row| unsafe { _mm512_loadu_ps(sums[row].as_ptr()) })
}

/// Writes the sums of `ROWS` rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn store<const ROWS: usize>(sum: &[__m512; ROWS], sums: &mut [[f32; 16]]) {
    for (sum, sums) in sum.iter().zip(sums) {
        // SAFETY: 16 floats.
        unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), *sum) };
    }
}

/// Asks for one block of weights: of those that come next into the first cache, of those later into the second.
#[inline]
#[target_feature(enable = "avx512f")]
fn prefetch<Quants>([next, later]: [*const Quants; 2], block: usize) {
    for line in 0..size_of::<Quants>() / 64 {
        let of = |blocks: *const Quants| {
            blocks
                .wrapping_add(block)
                .cast::<i8>()
                .wrapping_add(64 * line)
        };
        _mm_prefetch::<_MM_HINT_T1>(of(later));
        _mm_prefetch::<_MM_HINT_T0>(of(next));
    }
}
