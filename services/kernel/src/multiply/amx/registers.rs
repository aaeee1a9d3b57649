//! AMX's registers and the instructions on them, which Rust has no stable intrinsics for.

#![expect(
    unsafe_code,
    reason = "instructions that read and write through pointers"
)]

use std::arch::asm;
use std::marker::PhantomData;

use crate::activation::Block;
use crate::matrix::BLOCK;

/// The integer sums of one block.
#[repr(C, align(64))]
pub(super) struct Wholes<const ROWS: usize>(pub(super) [[i32; 16]; ROWS]);

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// AMX's registers, shaped for some rows as long as this lives: 0 the sums, 1 the rows, 2 the weights.
pub(super) struct Registers {
    rows: usize,
    /// The shape is the thread's own.
    _here: PhantomData<*const ()>,
}

impl Registers {
    /// For `rows` rows, at most sixteen.
    pub(super) fn shaped(rows: usize) -> Self {
        let mut shapes = Shapes {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        shapes.row_bytes[..3].copy_from_slice(&[64, BLOCK as u16, 64]);
        shapes.rows[..3].copy_from_slice(&[rows as u8, rows as u8, (BLOCK / 4) as u8]);
        // SAFETY: the processor has AMX and the system lends it, as `Isa::Amx` was chosen.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &shapes, options(nostack, readonly, preserves_flags));
        }
        Self {
            rows,
            _here: PhantomData,
        }
    }

    /// `into[r][o]` = Σ over a block's inputs of `x[r]` times output o's weights, for as many rows as was shaped for.
    #[inline(always)]
    pub(super) fn multiply<const ROWS: usize>(
        &self,
        quants: &[[[u8; 4]; 16]; BLOCK / 4],
        x: &[Block; ROWS],
        into: &mut Wholes<ROWS>,
    ) {
        debug_assert_eq!(self.rows, ROWS, "the registers have another shape");
        // SAFETY: ROWS × 32 bytes from the start of each block, 8 × 64 bytes of weights, ROWS × 64 bytes of sums: the
        // shapes.
        unsafe {
            asm!(
                "tileloadd tmm2, [{weights} + {line}]",
                "tileloadd tmm1, [{x} + {block}]",
                "tilezero tmm0",
                "tdpbsud tmm0, tmm1, tmm2",
                "tilestored [{into} + {line}], tmm0",
                weights = in(reg) quants,
                x = in(reg) x,
                into = in(reg) into,
                line = in(reg) 64usize,
                block = in(reg) size_of::<Block>(),
                out("tmm0") _, out("tmm1") _, out("tmm2") _,
                options(nostack, preserves_flags),
            );
        }
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: as where they were shaped.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}
