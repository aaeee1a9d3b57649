//! What every operation is given: the threads, the instruction set and room for quantised rows.

use crate::activation::Quantised;
use crate::isa::{Isa, UnsupportedIsa};
use crate::pool::Pool;

/// The threads, the instruction set and the scratch memory of one model's operations.
///
/// The operations are its methods: [`Compute::multiply`] and [`Compute::multiply_many`],
/// [`Compute::attention`], [`Compute::rms_norm`], [`Compute::rope`], [`Compute::silu_gate`],
/// [`Compute::add`], [`Compute::add_bias`]. One thread owns it; two models have one each.
#[derive(Debug)]
pub struct Compute {
    pub(crate) pool: Pool,
    pub(crate) isa: Isa,
    pub(crate) quantised: Quantised,
}

impl Compute {
    /// `threads` threads (the caller's included) and the best instruction set of this machine.
    pub fn new(threads: usize) -> Self {
        Self {
            pool: Pool::new(threads),
            isa: Isa::detect(),
            quantised: Quantised::default(),
        }
    }

    /// The same with an instruction set by name, for tests and comparisons.
    pub fn with_isa(threads: usize, isa: Isa) -> Result<Self, UnsupportedIsa> {
        if !isa.available() {
            return Err(UnsupportedIsa(isa));
        }
        Ok(Self {
            pool: Pool::new(threads),
            isa,
            quantised: Quantised::default(),
        })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of threads that work on an operation.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }
}
