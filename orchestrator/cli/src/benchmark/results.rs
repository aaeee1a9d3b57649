//! The files that a run leaves.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{plot, score::Run, summary, table};

/// Writes what was found out, for programs and for people.
///
/// # Errors
/// Names the folder that cannot be written to.
pub(crate) fn write(folder: &Path, run: &Run) -> Result<()> {
    let mut markdown = table::heading(run);
    markdown.extend(run.cells.iter().map(table::cell));
    markdown += &summary::shown(&run.summaries);
    markdown.extend(run.cells.iter().map(table::details));
    let files = [
        ("bench.json", serde_json::to_string_pretty(run)?),
        ("bench.md", markdown),
        ("speeds.svg", plot::speeds(run)),
        ("times.svg", plot::times(run)),
    ];
    let failed = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(failed)?;
    for (name, text) in files {
        fs::write(folder.join(name), text).with_context(failed)?;
    }
    Ok(())
}
