//! What goes to standard output, at once and whole, for scripts that wait for it.

use std::io::{Write, stdout};

use anyhow::{Context, Result};

/// Writes and flushes.
///
/// # Errors
/// Nobody reads any more.
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    let mut stdout = stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")
}

/// Writes a line.
///
/// # Errors
/// Nobody reads any more.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<()> {
    write(format!("{text}\n").as_bytes())
}
