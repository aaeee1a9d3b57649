//! One worker process, from its start to its end.

use std::{
    collections::VecDeque,
    ffi::OsString,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use csd_telemetry::Options;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

/// Lines of a worker's log that are kept to explain its death.
const TAIL: usize = 20;
/// How the last line of a failed worker begins.
const ERROR: &str = "error: ";
/// How long the log of a dead process may stay open, when a process of its own still holds it.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Variables that would tell every worker alike what the command line tells each of them apart.
const APART: [&str; 5] = [
    "CSD_CASCADE",
    "CSD_LEVEL",
    "CSD_LISTEN",
    "CSD_METRICS",
    "CSD_MODEL",
];

/// How to start a worker: `program arguments… --listen ADDRESS`.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// The level it serves.
    pub(crate) level: String,
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments, the address left out.
    pub(crate) arguments: Vec<OsString>,
}

/// What a worker says on stdout, as one line of JSON, once it answers calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Announcement {
    /// The level.
    pub(crate) level: String,
    /// Its process.
    pub(crate) pid: u32,
    /// Where it answers: `http://127.0.0.1:40123`.
    pub(crate) address: String,
    /// Where it is scraped: `http://127.0.0.1:40124/metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metrics: Option<String>,
}

/// What a worker logs: passed on to our own log, and the last of it kept.
#[derive(Clone, Debug)]
struct Log {
    level: String,
    tail: Arc<Mutex<VecDeque<String>>>,
}

/// A running worker.
///
/// It holds the worker's stdin, a pipe, open: the worker ends when the pipe closes, so it cannot outlive this process,
/// however this process ends. Dropping kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    log: Log,
    reader: JoinHandle<()>,
}

impl Process {
    /// Starts a worker that is to listen at `address`, `HOST:PORT`. It is not ready yet; see [`Self::announced`].
    ///
    /// # Errors
    /// The program cannot be run.
    pub(crate) fn start(spec: &Spec, address: &str) -> std::io::Result<Self> {
        let mut command = Command::new(&spec.program);
        for variable in APART {
            command.env_remove(variable);
        }
        if Options::from_env().filter.is_none() {
            command.env("CSD_LOG", "warn");
        }
        let mut child = command
            .args(&spec.arguments)
            .args(["--listen", address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is for us alone: we stop the workers, after the requests that need them.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child.stderr.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let log = Log {
            level: spec.level.clone(),
            tail: Arc::default(),
        };
        Ok(Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            reader: tokio::spawn(log.clone().read(stderr)),
            child,
            log,
        })
    }

    /// Waits until the worker says that it answers calls.
    ///
    /// # Errors
    /// It ended before; the error says why, in its own words.
    pub(crate) async fn announced(&mut self) -> Result<Announcement, String> {
        if let Some(stdout) = self.stdout.take() {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(announcement) = serde_json::from_str(&line) else {
                    self.log.note(line);
                    continue;
                };
                // Whatever else it prints is read, so that it never waits for us.
                tokio::spawn(self.log.clone().read(lines.into_inner()));
                return Ok(announcement);
            }
        }
        Err(self.ended().await)
    }

    /// Waits for the end of the process and says how it ended, with the last words of its log.
    pub(crate) async fn ended(&mut self) -> String {
        let status = match self.child.wait().await {
            Ok(status) => status,
            Err(error) => return format!("its end cannot be seen: {error}"),
        };
        let _ = timeout(LAST_WORDS, &mut self.reader).await;
        let how = describe(status);
        match self.log.last_words(status) {
            Some(words) => format!("{words} ({how})"),
            None => how,
        }
    }

    /// Ends the process: its stdin closes, and after `grace` it is killed.
    pub(crate) async fn stop(mut self, grace: Duration) {
        drop(self.stdin.take());
        if timeout(grace, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

impl Log {
    async fn read(self, from: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.note(line);
        }
    }

    fn note(&self, line: String) {
        if line.trim().is_empty() {
            return;
        }
        // The error that ends a worker is told as such, once.
        if !line.starts_with(ERROR) {
            eprintln!("{:>8} │ {line}", self.level);
        }
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line);
    }

    /// The error that a worker ended with; without one, what it said last, unless it was killed.
    fn last_words(&self, status: ExitStatus) -> Option<String> {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let error = tail.iter().rev().find_map(|line| line.strip_prefix(ERROR));
        let last = tail.back().map(String::as_str);
        let words = error.or(last.filter(|_| status.code().is_some_and(|code| code != 0)));
        words.map(str::to_owned)
    }
}
