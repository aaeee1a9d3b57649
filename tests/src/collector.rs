//! A real OpenTelemetry collector: rotel, which logs every span that it gets and may pass it on.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    process, python, root,
    spans::{self, Span},
};

/// How long it may take to start.
const START: Duration = Duration::from_secs(20);

/// How long nothing is to come before everything has.
const QUIET: Duration = Duration::from_millis(500);

/// A running collector; dropping it ends it.
pub struct Collector {
    child: Child,
    log: PathBuf,
    /// Where it takes OTLP over gRPC.
    pub endpoint: String,
}

impl Collector {
    /// The program, installed where it is not yet.
    ///
    /// # Errors
    /// When it cannot be installed, or does not run: it needs the library of Python 3.11.
    pub fn install() -> Result<PathBuf> {
        let environment = python::environment("rotel")?;
        let versions = fs::read_dir(environment.join("lib"))?.flatten();
        let mut programs =
            versions.map(|version| version.path().join("site-packages/rotel/rotel-agent"));
        let program = programs.find(|program| program.is_file());
        let program = program.context("the package rotel holds no rotel-agent")?;
        let tried = Command::new(&program).arg("--help").output()?;
        let said = String::from_utf8_lossy(&tried.stderr);
        ensure!(tried.status.success(), "{}: {said}", program.display());
        Ok(program)
    }

    /// Starts a collector that keeps what it gets to itself.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(program: &Path) -> Result<Self> {
        Self::run(program, &["--exporter", "blackhole"])
    }

    /// Starts a collector that passes everything on, as OTLP over HTTP with this header.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn forwarding(program: &Path, url: &str, header: &str) -> Result<Self> {
        let onward = ["--exporter", "otlp", "--otlp-exporter-endpoint", url];
        let manner = ["--otlp-exporter-protocol", "http"];
        let header = ["--otlp-exporter-custom-headers", header];
        Self::run(program, &[&onward[..], &manner, &header].concat())
    }

    fn run(program: &Path, arguments: &[&str]) -> Result<Self> {
        let grpc = process::free_address()?;
        let log = root().join(format!("target/collector-{}.log", grpc.replace(':', "-")));
        let child = Command::new(program)
            .args(["start", "--otlp-grpc-endpoint", &grpc])
            .args([
                "--otlp-http-endpoint",
                &process::free_address()?,
                "--disable-batching",
            ])
            .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start rotel")?;
        let collector = Self {
            child,
            log,
            endpoint: format!("http://{grpc}"),
        };
        if !process::wait(START, || TcpStream::connect(&grpc).is_ok()) {
            bail!("rotel did not come up within {} s", START.as_secs());
        }
        Ok(collector)
    }

    /// Every span that it got, once none has come for a while: the log lags behind those who send.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn settled(&self) -> Result<Vec<Span>> {
        let mut log = String::new();
        loop {
            std::thread::sleep(QUIET);
            let now = fs::read_to_string(&self.log)?;
            if now.len() == log.len() {
                return Ok(spans::logged(&now));
            }
            log = now;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}
