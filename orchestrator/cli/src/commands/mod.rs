//! One file a command, all of one shape: `Args`, and `run(args)`.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod models;
pub(crate) mod plan;
pub(crate) mod serve;
pub(crate) mod up;
pub(crate) mod worker;
