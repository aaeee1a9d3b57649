//! What `csd bench` is made of. In reading order:
//!
//! - [`workload`]: what is written
//! - [`arm`]: who is compared, and the settings that are tuned
//! - [`server`]: whoever answers: a cascade, or a peer
//! - [`sample`]: one text, asked for and timed
//! - [`trial`]: arms side by side, prompt by prompt in turn; tuning
//! - [`cells`]: everybody over some prompts, under one set of conditions
//! - [`memory`]: what remembered texts are worth, apart from all that
//! - [`account`]: calls, acceptance, and where the time went
//! - [`interval`], [`score`], [`summary`]: what it comes to, in a cell and in all
//! - [`probe`], [`costs`], [`record`]: what `csd plan` reasons about
//! - [`table`], [`plot`], [`results`]: how it is shown

pub(crate) mod account;
pub(crate) mod arm;
pub(crate) mod cells;
pub(crate) mod costs;
pub(crate) mod interval;
pub(crate) mod memory;
pub(crate) mod plot;
pub(crate) mod probe;
pub(crate) mod record;
pub(crate) mod results;
pub(crate) mod sample;
pub(crate) mod score;
pub(crate) mod server;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod trial;
pub(crate) mod workload;
