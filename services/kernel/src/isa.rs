//! Which instruction set the products use: chosen once a process, and only after it has proved itself.

use std::sync::OnceLock;

use crate::compute::Compute;
use crate::matrix::{Kind, Matrix};

/// An instruction set that this crate has code for, plainest first. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust, the reference that the others are held to. Runs anywhere.
    Portable,
    /// x86-64 with AVX2, FMA and F16C: 16-bit products of widened weights.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and VNNI: 8-bit products summed four at a time.
    Avx512Vnni,
    /// The same with AMX's integer tiles: 16 outputs of 16 rows in one instruction. On Linux, which lends them.
    Amx,
}

/// What [`Isa::detection`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    /// The best instruction set that the processor has and that gave the portable code's bits.
    pub chosen: Isa,
    /// Instruction sets that the processor says it has but whose numbers differed: worth a warning.
    pub refused: Vec<Isa>,
}

/// The processor lacks an instruction set that was asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this processor has no {0:?}")]
pub struct UnsupportedIsa(
    /// The one that was asked for.
    pub Isa,
);

impl Isa {
    /// Every instruction set, plainest first.
    pub const ALL: [Isa; 4] = [Isa::Portable, Isa::Avx2, Isa::Avx512Vnni, Isa::Amx];

    /// The instruction set to use on this machine: [`Detection::chosen`] of [`Isa::detection`].
    pub fn detect() -> Self {
        Self::detection().chosen
    }

    /// Tries every instruction set of this processor on small products against the portable code, once a
    /// process, and chooses the best that gives its bits.
    pub fn detection() -> &'static Detection {
        static DETECTION: OnceLock<Detection> = OnceLock::new();
        DETECTION.get_or_init(|| {
            let available = Self::ALL.into_iter().filter(|isa| isa.available());
            let (proved, refused): (Vec<_>, Vec<_>) =
                available.partition(|isa| isa.proves_itself());
            Detection {
                chosen: proved.into_iter().max().unwrap_or(Isa::Portable),
                refused,
            }
        })
    }

    /// Whether this processor has it.
    #[cfg(target_arch = "x86_64")]
    pub fn available(self) -> bool {
        let avx2 = || {
            is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
        };
        match self {
            Isa::Portable => true,
            Isa::Avx2 => avx2(),
            Isa::Avx512Vnni => {
                avx2()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            Isa::Amx => Isa::Avx512Vnni.available() && tiles(),
        }
    }

    /// Whether this processor has it.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn available(self) -> bool {
        self == Isa::Portable
    }

    fn proves_itself(self) -> bool {
        Kind::ALL.into_iter().all(
            |kind| match (proof(Isa::Portable, kind), proof(self, kind)) {
                (Some(reference), Some(ours)) => reference == ours,
                _ => false,
            },
        )
    }
}

/// Whether the processor has AMX's integer tiles and the system lets this process use them, which it must ask for.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    /// Leaf 7: AMX-TILE and AMX-INT8.
    const TILES: u32 = 1 << 24 | 1 << 25;
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    /// The tiles' contents as a part of a thread's state. That the system saves it follows from its consent.
    const XTILEDATA: libc::c_long = 18;
    static TILES_LENT: OnceLock<bool> = OnceLock::new();
    *TILES_LENT.get_or_init(|| {
        let has = __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & TILES == TILES;
        // SAFETY: it takes two numbers, and allows this process's threads more state.
        #[expect(unsafe_code, reason = "a system call that no library wraps")]
        let lent =
            || unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) };
        has && lent() == 0
    })
}

/// Nobody to ask.
#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn tiles() -> bool {
    false
}

/// The bits of small products: whole groups of rows and parts of them, more tiles and blocks than are walked
/// together, and half a tile.
fn proof(isa: Isa, kind: Kind) -> Option<Vec<u32>> {
    const ROWS: [usize; 3] = [37, 11, 3];
    const OUTPUTS: usize = 72;
    const INPUTS: usize = 544;
    let value =
        |seed: usize| (seed.wrapping_mul(2_654_435_761) >> 7 & 0xffff) as f32 / 32_768.0 - 1.0;
    let matrix = Matrix::pack(kind, OUTPUTS, INPUTS, |output, row| {
        row.iter_mut()
            .enumerate()
            .for_each(|(input, weight)| *weight = value(output * INPUTS + input));
        Ok::<(), std::convert::Infallible>(())
    });
    let matrix = matrix.ok()?;
    let mut compute = Compute::with_isa(1, isa).ok()?;
    let mut bits = Vec::new();
    for rows in ROWS {
        let x: Vec<f32> = (0..rows * INPUTS)
            .map(|index| value(index + 77_777))
            .collect();
        let mut out = vec![0.0; rows * OUTPUTS];
        compute.multiply(&matrix, &x, rows, &mut out);
        bits.extend(out.into_iter().map(f32::to_bits));
    }
    Some(bits)
}

/// Defines a function whose plain body is compiled for the baseline, for AVX2 with FMA, and for AVX-512.
///
/// Rust never reorders or fuses floating-point operations by itself, so all give the same bits: only the
/// number of lanes at work differs.
macro_rules! per_isa {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $vis fn $name(isa: $crate::isa::Isa, $($arg: $type),*) {
            #[inline(always)]
            fn plain($($arg: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn wide($($arg: $type),*) {
                plain($($arg),*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl")]
            fn widest($($arg: $type),*) {
                plain($($arg),*);
            }

            // SAFETY: a `Compute` holds only an instruction set that this processor has; AMX includes AVX-512.
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "calls the same body compiled for a detected instruction set")]
            match isa {
                $crate::isa::Isa::Portable => {}
                $crate::isa::Isa::Avx2 => return unsafe { wide($($arg),*) },
                $crate::isa::Isa::Avx512Vnni | $crate::isa::Isa::Amx => {
                    return unsafe { widest($($arg),*) };
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = isa;
            plain($($arg),*);
        }
    };
}
pub(crate) use per_isa;

/// Defines a function that sends its arguments to the function of that name in the calling module's `portable`,
/// `avx2`, `avx512` or `amx`.
macro_rules! by_isa {
    ($name:ident($($arg:ident: $type:ty),* $(,)?)) => {
        fn $name(isa: $crate::isa::Isa, $($arg: $type),*) {
            match isa {
                $crate::isa::Isa::Portable => portable::$name($($arg),*),
                // SAFETY: a `Compute` holds only an instruction set that this processor has.
                #[cfg(target_arch = "x86_64")]
                #[expect(unsafe_code, reason = "calls code for a detected instruction set")]
                $crate::isa::Isa::Avx2 => unsafe { avx2::$name($($arg),*) },
                // SAFETY: the same.
                #[cfg(target_arch = "x86_64")]
                #[expect(unsafe_code, reason = "calls code for a detected instruction set")]
                $crate::isa::Isa::Avx512Vnni => unsafe { avx512::$name($($arg),*) },
                // SAFETY: the same.
                #[cfg(target_arch = "x86_64")]
                #[expect(unsafe_code, reason = "calls code for a detected instruction set")]
                $crate::isa::Isa::Amx => unsafe { amx::$name($($arg),*) },
                #[cfg(not(target_arch = "x86_64"))]
                _ => portable::$name($($arg),*),
            }
        }
    };
}
pub(crate) use by_isa;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_of_this_processor_proves_itself() {
        for isa in Isa::ALL {
            if isa.available() {
                assert!(
                    isa.proves_itself(),
                    "{isa:?} differs from the portable code"
                );
            } else {
                println!("skipped: this processor has no {isa:?}");
            }
        }
        assert!(Isa::detection().refused.is_empty());
    }
}
