//! The whole system as a user meets it: `csd up` with its worker processes, spoken to over HTTP.
//!
//! [`Up`] starts and stops a cascade, [`prompts`] makes texts to write, [`process`] looks after the operating system's
//! view of the processes.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

pub mod lossless;
pub mod plans;
pub mod process;
pub mod prompts;

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
}

/// A running cascade; dropping it stops every process.
pub struct Up {
    child: Child,
    /// Where the API listens, e.g. `http://127.0.0.1:40001`.
    pub url: String,
    levels: Arc<Mutex<Vec<LevelProcess>>>,
    agent: ureq::Agent,
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
                } else if let (Some(level), Some(pid), Some(address)) = (
                    value["level"].as_str(),
                    value["pid"].as_u64(),
                    value["address"].as_str(),
                ) {
                    let process = LevelProcess {
                        level: level.into(),
                        pid: pid as u32,
                        address: address.into(),
                    };
                    if let Ok(mut seen) = seen.lock() {
                        seen.retain(|other| other.level != level);
                        seen.push(process);
                    }
                }
            }
        });
        match listening.recv_timeout(START) {
            Ok(url) => {
                let config = ureq::Agent::config_builder()
                    .http_status_as_error(false)
                    .timeout_global(Some(Duration::from_secs(120)));
                Ok(Self {
                    child,
                    url,
                    levels,
                    agent: config.build().into(),
                    _turn: turn,
                })
            }
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

    /// POSTs a body and returns status and JSON.
    ///
    /// # Errors
    /// When there is no answer, or none in JSON.
    pub fn post(&self, path: &str, body: &str) -> Result<(u16, Value)> {
        let request = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("content-type", "application/json");
        let mut response = request.send(body)?;
        let status = response.status().as_u16();
        Ok((status, response.body_mut().read_json()?))
    }

    /// GETs a path and returns status and text.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call()?;
        Ok((
            response.status().as_u16(),
            response.body_mut().read_to_string()?,
        ))
    }

    /// POSTs a completion that must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn complete(&self, body: &Value) -> Result<Value> {
        let (status, value) = self.post("/v1/completions", &body.to_string())?;
        ensure!(status == 200, "{status}: {value}");
        Ok(value)
    }

    /// Streams a completion; `seen` is called with each event and its number and may disturb things.
    ///
    /// # Errors
    /// When the stream breaks off without a word.
    pub fn stream(&self, body: &Value, mut seen: impl FnMut(usize, &Value)) -> Result<Stream> {
        let mut body = body.clone();
        body["stream"] = json!(true);
        body["return_token_ids"] = json!(true);
        let request = self
            .agent
            .post(format!("{}/v1/completions", self.url))
            .header("content-type", "application/json");
        let response = request.send(body.to_string())?;
        ensure!(response.status() == 200, "{}", response.status());
        let mut stream = Stream::default();
        let started = Instant::now();
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line?;
            let Some(data) = line.strip_prefix("data: ") else {
                continue;
            };
            if data == "[DONE]" {
                stream.done = true;
                break;
            }
            let event: Value = serde_json::from_str(data)?;
            seen(stream.chunks, &event);
            stream.chunks += 1;
            stream.times.push(started.elapsed());
            if !event["error"].is_null() {
                stream.error = Some(event["error"].clone());
                continue;
            }
            let choice = &event["choices"][0];
            stream
                .text
                .push_str(choice["text"].as_str().unwrap_or_default());
            stream.token_ids.extend(ids(&choice["token_ids"]));
            if !event["cascade"].is_null() {
                stream.cascade = event["cascade"].clone();
            }
        }
        Ok(stream)
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

/// A stream's whole yield.
#[derive(Debug, Default)]
pub struct Stream {
    /// All text.
    pub text: String,
    /// All token ids.
    pub token_ids: Vec<u32>,
    /// The cascade's report from the last chunk.
    pub cascade: Value,
    /// The error that ended it.
    pub error: Option<Value>,
    /// Whether it ended with `[DONE]`.
    pub done: bool,
    /// Events seen.
    pub chunks: usize,
    /// When each arrived.
    pub times: Vec<Duration>,
}

/// A JSON list of token ids.
pub fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .map(|id| id as u32)
        .collect()
}
