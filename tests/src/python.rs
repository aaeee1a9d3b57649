//! Programs from the Python package index, each in a virtual environment that is kept, outside the repository.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::root;

/// The environment in which `tests/python/NAME.txt` is installed; made where it is not there yet, which takes a network.
///
/// It lies in `$CSD_TEST_VENVS`, else where a user's caches lie.
///
/// # Errors
/// When it cannot be made, with what Python said.
pub fn environment(name: &str) -> Result<PathBuf> {
    let list = root().join(format!("tests/python/{name}.txt"));
    let requirement = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let folder = place()?.join(requirement.trim().replace("==", "-"));
    let done = folder.join("installed");
    if !done.is_file() {
        let mut venv = Command::new("python3");
        succeed(venv.args(["-m", "venv", "--clear"]).arg(&folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        succeed(pip.args(["install", "--quiet", "--requirement"]).arg(&list))?;
        fs::write(done, "")?;
    }
    Ok(folder)
}

fn place() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let caches = || {
        let home = || Some(variable("HOME")?.join(".cache"));
        Some(variable("XDG_CACHE_HOME").or_else(home)?.join("csd-tests"))
    };
    let place = variable("CSD_TEST_VENVS").or_else(caches);
    place.context("neither CSD_TEST_VENVS nor HOME says where to install programs")
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
