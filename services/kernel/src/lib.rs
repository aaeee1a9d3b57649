//! Row-wise products, attention and norms whose numbers never depend on the batch.
//!
//! The law of this crate: *row i of any operation is formed by the same operations in the same order,
//! whatever the number of rows, the thread count, the chunking or the other sequences beside it; and every
//! instruction set gives the bits of the plain portable code.* A review of eight positions is therefore bit
//! for bit eight reviews of one, and costs hardly more: the weights are read once for up to sixteen rows.
//!
//! Reading order:
//! - `compute`: what every operation is given ([`Compute`]), a [`Pool`] of threads and the instruction set;
//! - `pool`: threads that park; `isa`: which instruction set ([`Isa`]), and the proof that it may be trusted;
//! - `matrix`: weights packed once, at load, into tiles of outputs ([`Matrix`], [`Kind`]);
//! - `activation`: rows quantised for the integer products; `multiply`: rows × matrix;
//! - `cache`, `attention`: keys and values in pages ([`Cache`]), and attention over exactly 0..=p;
//! - inside these, `portable`, `avx2`, `avx512`, `amx`: one file per instruction set, one skeleton;
//! - `rowwise`: norm, rope, gated activation, sums; `exp`: the exponential they share;
//! - `bandwidth`: what the machine itself can read ([`read_bandwidth`]); `priority`: threads that run before others.
//!
//! What it refuses to do: read files, know a model's architecture, allocate inside an operation, reorder a
//! sum for speed. `unsafe` stands in the pool, the instruction-set files and their callers, and where the system is asked.

mod activation;
mod attention;
mod bandwidth;
mod cache;
mod compute;
mod exp;
mod isa;
mod matrix;
mod multiply;
mod pool;
mod priority;
mod rowwise;

pub use attention::Heads;
pub use bandwidth::read_bandwidth;
pub use cache::{Cache, PAGE};
pub use compute::Compute;
pub use isa::{Detection, Isa, UnsupportedIsa};
pub use matrix::{BLOCK, Kind, Matrix, PackError, Q4Format};
pub use multiply::Product;
pub use pool::Pool;
pub use priority::prioritise;
