//! The whole system as a user meets it: `csd up` with its worker processes, spoken to over HTTP.
//!
//! [`Up`] starts and stops a cascade, [`worker`] a single level, [`containers`] does so with the compose file, [`client`]
//! asks for texts, [`metrics`] for what Prometheus is told, [`prompts`] makes texts to write, [`enlarged`] a target worth
//! drafting for, [`browser`] opens the page, [`collector`] takes in traces, [`spans`] is what it got, [`viewer`] shows it,
//! [`python`] installs other people's programs, [`process`] looks after the operating system's view of the processes.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

pub mod browser;
pub mod client;
pub mod collector;
pub mod containers;
pub mod enlarged;
pub mod lossless;
pub mod metrics;
pub mod plans;
pub mod process;
pub mod prompts;
pub mod python;
pub mod spans;
pub mod viewer;
pub mod worker;

pub use client::{Client, Stream, ids};
pub use worker::Worker;

/// One cascade at a time: side by side they would share two cores and measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How long a cascade may take to come up, models loaded.
const START: Duration = Duration::from_secs(60);

/// The workspace's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Says that something was not tested, past the capture of output: a test that did nothing must not look like one that
/// passed.
pub fn skipped(what: &str) {
    let _ = std::io::stderr().write_all(format!("\nSKIPPED: {what}\n").as_bytes());
}

/// The `csd` binary of the same build as the running program.
///
/// # Errors
/// When it has not been built.
pub fn binary() -> Result<PathBuf> {
    let mut folder = std::env::current_exe()?;
    while folder.pop() {
        let candidate = folder.join("csd");
        if candidate.is_file() {
            return Ok(candidate);
        }
        if folder.ends_with("target") {
            break;
        }
    }
    bail!("no csd binary beside this program; build the workspace first: cargo build")
}

/// One level's process, as `csd up --json` announced it.
#[derive(Clone, Debug)]
pub struct LevelProcess {
    /// Its name.
    pub level: String,
    /// Its process id.
    pub pid: u32,
    /// Where it answers gRPC.
    pub address: String,
    /// Where it is scraped.
    pub metrics: String,
}

/// A running cascade; dropping it stops every process.
pub struct Up {
    child: Child,
    client: Client,
    levels: Arc<Mutex<Vec<LevelProcess>>>,
    _turn: MutexGuard<'static, ()>,
}

impl Up {
    /// Starts `csd up` on a cascade file (relative to the workspace's root) with the API on a free port.
    ///
    /// # Errors
    /// When it does not come up, with what it said.
    pub fn start(cascade: &str) -> Result<Self> {
        Self::start_with(cascade, &[])
    }

    /// The same with further environment variables.
    ///
    /// # Errors
    /// As [`Up::start`].
    pub fn start_with(cascade: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = Command::new(binary()?)
            .args(["up", cascade, "--listen", "127.0.0.1:0", "--json"])
            .envs(environment.iter().copied())
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start csd up")?;
        let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let levels: Arc<Mutex<Vec<LevelProcess>>> = Arc::default();
        let (sender, listening) = mpsc::channel();
        let seen = levels.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Ok(value) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                if let Some(url) = value["listening"].as_str() {
                    let _ = sender.send(url.to_owned());
                } else if let (Some(level), Some(pid), Some(address), Some(metrics)) = (
                    value["level"].as_str(),
                    value["pid"].as_u64(),
                    value["address"].as_str(),
                    value["metrics"].as_str(),
                ) {
                    let process = LevelProcess {
                        level: level.into(),
                        pid: pid as u32,
                        address: address.into(),
                        metrics: metrics.into(),
                    };
                    if let Ok(mut seen) = seen.lock() {
                        seen.retain(|other| other.level != level);
                        seen.push(process);
                    }
                }
            }
        });
        match listening.recv_timeout(START) {
            Ok(url) => Ok(Self {
                child,
                client: Client::new(url),
                levels,
                _turn: turn,
            }),
            Err(_) => {
                let _ = child.kill();
                let status = child.wait()?;
                bail!(
                    "csd up {cascade} did not come up within {} s ({status})",
                    START.as_secs()
                )
            }
        }
    }

    /// The process id of `csd up` itself.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes of the levels, as last announced.
    pub fn levels(&self) -> Vec<LevelProcess> {
        self.levels
            .lock()
            .map(|levels| levels.clone())
            .unwrap_or_default()
    }

    /// The process of one level.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn level(&self, name: &str) -> Result<LevelProcess> {
        self.levels()
            .into_iter()
            .find(|level| level.level == name)
            .with_context(|| format!("no level {name:?}"))
    }
}

impl Deref for Up {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = process::signal(self.child.id(), "TERM");
        if process::gone(self.child.id(), Duration::from_secs(12)) || self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}
