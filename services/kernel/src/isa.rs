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
    pub const ALL: [Isa; 3] = [Isa::Portable, Isa::Avx2, Isa::Avx512Vnni];

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

/// The bits of a small product: 15 rows, 40 outputs (a tile and a half), 96 inputs.
fn proof(isa: Isa, kind: Kind) -> Option<Vec<u32>> {
    const ROWS: usize = 15;
    const OUTPUTS: usize = 40;
    const INPUTS: usize = 96;
    let value =
        |seed: usize| (seed.wrapping_mul(2_654_435_761) >> 7 & 0xffff) as f32 / 32_768.0 - 1.0;
    let matrix = Matrix::pack(kind, OUTPUTS, INPUTS, |output, row| {
        row.iter_mut()
            .enumerate()
            .for_each(|(input, weight)| *weight = value(output * INPUTS + input));
        Ok::<(), std::convert::Infallible>(())
    });
    let x: Vec<f32> = (0..ROWS * INPUTS)
        .map(|index| value(index + 77_777))
        .collect();
    let mut out = vec![0.0; ROWS * OUTPUTS];
    Compute::with_isa(1, isa)
        .ok()?
        .multiply(&matrix.ok()?, &x, ROWS, &mut out);
    Some(out.into_iter().map(f32::to_bits).collect())
}

/// Defines a function whose plain body is compiled once for the baseline and once for AVX2 with FMA.
///
/// Rust never reorders or fuses floating-point operations by itself, so both give the same bits: only the
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
            if isa >= $crate::isa::Isa::Avx2 {
                // SAFETY: a `Compute` holds only an instruction set that this processor has, and both others
                // include AVX2 and FMA.
                #[expect(unsafe_code, reason = "calls the same body compiled for a detected instruction set")]
                return unsafe { wide($($arg),*) };
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = isa;
            plain($($arg),*);
        }
    };
}
pub(crate) use per_isa;

/// Defines a function that sends its arguments to the function of that name in the calling module's `portable`,
/// `avx2` or `avx512`.
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
