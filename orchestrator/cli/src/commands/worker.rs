//! `csd worker`: one level in this process. The arguments are the worker's own.

use anyhow::Result;

pub(crate) use csd_worker::Args;

/// Serves the level until it is asked to stop.
pub(crate) async fn run(args: Args) -> Result<()> {
    Ok(csd_worker::run(args).await?)
}
