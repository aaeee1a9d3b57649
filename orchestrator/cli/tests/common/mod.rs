//! The real `csd` program, and the processes it starts, as the system sees them.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// No step of a test may take longer.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// `csd` with these arguments, in the root of the workspace.
pub(crate) fn csd<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_csd"));
    command
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .stdin(Stdio::null());
    command
}

/// Runs to the end, at most [`BOUND`] long.
pub(crate) fn finish(command: &mut Command) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("csd runs");
    let pid = child.id();
    let (done, ended) = channel();
    thread::spawn(move || {
        if ended.recv_timeout(BOUND).is_err() {
            signal(pid, "KILL");
        }
    });
    let output = child.wait_with_output().expect("its output");
    let _ = done.send(());
    output
}

/// What it wrote to stderr.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What it wrote to stdout.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `csd up --json`; killed when dropped.
pub(crate) struct Up {
    /// The process itself.
    pub(crate) child: Child,
    lines: Receiver<String>,
}

impl Up {
    /// Starts it with further arguments, at a free port.
    pub(crate) fn start<const N: usize>(arguments: [&str; N]) -> Self {
        let mut child = csd(["up", "--json", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("csd runs");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// The next line.
    pub(crate) fn line(&self) -> Value {
        let line = self.lines.recv_timeout(BOUND).expect("a line in time");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"))
    }

    /// All lines up to the one that says where requests are answered; that one is given as its host and port.
    pub(crate) fn listening(&self) -> (Vec<Value>, String) {
        let mut levels = Vec::new();
        loop {
            let line = self.line();
            match line["listening"].as_str() {
                Some(url) => return (levels, url.trim_start_matches("http://").to_owned()),
                None => levels.push(line),
            }
        }
    }

    /// Waits for its end; whether it exited with 0.
    pub(crate) fn ended(&mut self, bound: Duration) -> bool {
        let mut status = None;
        until(bound, || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.is_some_and(|status| status.success())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The `pid` of a level's line.
pub(crate) fn pid(line: &Value) -> u32 {
    line["pid"]
        .as_u64()
        .and_then(|pid| pid.try_into().ok())
        .expect("a pid")
}

/// Whether the process is there and has not ended.
pub(crate) fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
}

/// The processes that `parent` started.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        after_name.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    })
    .collect()
}

/// Sends a signal by name.
pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
}

/// Waits until `met`, and fails when that takes longer than `bound`.
pub(crate) fn until(bound: Duration, mut met: impl FnMut() -> bool) {
    let started = Instant::now();
    while !met() {
        assert!(started.elapsed() < bound, "not within {bound:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// `POST path` as any client would do it: the status line and the body.
pub(crate) fn post(address: &str, path: &str, body: &Value) -> (String, Value) {
    let body = body.to_string();
    let mut socket = TcpStream::connect(address).expect("somebody there");
    socket.set_read_timeout(Some(BOUND)).expect("a timeout");
    write!(
        socket,
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    let status = head.lines().next().unwrap_or_default().to_owned();
    (status, serde_json::from_str(body).expect("JSON"))
}
