//! A worker of its own, apart from `csd up`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{binary, process, root};

/// How long a worker may take to load its model.
const START: Duration = Duration::from_secs(60);

/// A running `csd worker`; dropping it kills it.
pub struct Worker {
    child: Child,
    /// Where it answers gRPC.
    pub address: String,
}

impl Worker {
    /// Starts a worker for a level of a cascade file (relative to the workspace's root), with further arguments.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(cascade: &str, level: &str, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(binary()?)
            .args(["worker", "--cascade", cascade, "--level", level])
            .arg("--with-parent")
            .args(arguments)
            .current_dir(root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start csd worker")?;
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let mut worker = Self {
            child,
            address: String::new(),
        };
        let (announce, announced) = mpsc::channel();
        std::thread::spawn(move || announce.send(lines.next()));
        let line = announced.recv_timeout(START).ok().flatten();
        let line = line.with_context(|| format!("the worker of {level:?} did not come up"))??;
        let announcement: Value = serde_json::from_str(&line)?;
        let address = announcement["address"].as_str().context("no address")?;
        worker.address = address.to_owned();
        Ok(worker)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, as suddenly as can be.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Result<()> {
        process::signal(self.pid(), "KILL")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A copy of a cascade file (relative to the workspace's root) under a name of its own in which `changes` replace texts.
///
/// # Errors
/// When it cannot be written, or has nothing of the kind.
pub fn changed(cascade: &str, name: &str, changes: &[(&str, &str)]) -> Result<String> {
    let mut text = fs::read_to_string(root().join(cascade))?;
    let models = root().join("models").display().to_string();
    text = text.replace("\"../models/", &format!("\"{models}/"));
    for (from, to) in changes {
        anyhow::ensure!(text.contains(from), "{cascade} has no {from:?}");
        text = text.replace(from, to);
    }
    let folder = root().join("target/tmp");
    fs::create_dir_all(&folder)?;
    let copy = folder.join(format!("{name}-{}.toml", std::process::id()));
    fs::write(&copy, text)?;
    Ok(copy.display().to_string())
}
