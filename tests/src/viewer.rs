//! A real trace viewer: MLflow, whose page shows one trace as a timeline beside the attributes of a span.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{Client, browser::Browser, process, python, root};

/// How long it may take to start, and to take a trace in.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a collector must add to what it passes on: where the viewer is to put it.
pub const HEADER: &str = "x-mlflow-experiment-id=0";

/// A running viewer; dropping it ends it and forgets its traces.
pub struct Viewer {
    child: Child,
    folder: PathBuf,
    client: Client,
}

impl Viewer {
    /// Starts a viewer, installed first where it is not yet.
    ///
    /// # Errors
    /// When it cannot be installed, or does not come up.
    pub fn start() -> Result<Self> {
        let program = python::environment("mlflow")?.join("bin/mlflow");
        let folder = root().join(format!("target/viewer-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let address = process::free_address()?;
        let (host, port) = address.split_once(':').context("no port")?;
        let child = Command::new(program)
            .args(["server", "--host", host, "--port", port, "--workers", "1"])
            .args(["--backend-store-uri", "sqlite:///traces.db"])
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("out"))?)
            .stderr(File::create(folder.join("log"))?)
            .spawn()?;
        let viewer = Self {
            child,
            folder,
            client: Client::new(format!("http://{address}")),
        };
        let up = || matches!(viewer.client.get("/health"), Ok((200, _)));
        ensure!(process::wait(PATIENCE, up), "MLflow did not come up");
        Ok(viewer)
    }

    /// Where it takes OTLP over HTTP.
    pub fn url(&self) -> &str {
        &self.client.url
    }

    /// Waits until it has so many spans of a trace, and opens that: as wide as the page, over time, with most of the width
    /// for the spans.
    ///
    /// # Errors
    /// When they do not come, or the page is not what it was.
    pub fn open(&self, page: &mut Browser, trace: &str, spans: usize) -> Result<()> {
        let get = format!("/api/3.0/mlflow/traces/get?trace_id=tr-{trace}");
        let taken_in = || {
            let answer = self
                .client
                .get(&get)
                .ok()
                .filter(|(status, _)| *status == 200);
            let answer = answer.and_then(|(_, text)| serde_json::from_str::<Value>(&text).ok());
            let found = answer.and_then(|answer| Some(answer["trace"]["spans"].as_array()?.len()));
            found == Some(spans)
        };
        ensure!(
            process::wait(PATIENCE, taken_in),
            "MLflow never had all {spans} spans of trace {trace}"
        );
        page.open(&format!(
            "{}/#/experiments/0/traces?selectedEvaluationId=tr-{trace}",
            self.url()
        ))?;
        for button in ["Full screen", "Show execution timeline"] {
            let button = format!("document.querySelector('[aria-label=\"{button}\"]')");
            page.wait(&format!("{button} !== null"))?;
            page.value(&format!("{button}.click()"))?;
        }
        let handle = "document.querySelector('.react-resizable > :last-child')";
        page.wait(&format!("{handle} !== null"))?;
        page.value(&format!(
            "{{ const handle = {handle}; const from = handle.getBoundingClientRect().left; \
             const mouse = (type, x, on) => on.dispatchEvent(new MouseEvent(type, {{bubbles: true, clientX: x, clientY: 500}})); \
             mouse('mousedown', from, handle); mouse('mousemove', innerWidth * 0.62, document); mouse('mouseup', innerWidth * 0.62, document); }}"
        ))?;
        Ok(())
    }

    /// Hides what stands under a span, if anything does.
    ///
    /// # Errors
    /// When the page is not what it was.
    pub fn fold(&self, page: &mut Browser, span: &str) -> Result<()> {
        page.value(&format!("{}?.click()", toggle(span))).map(drop)
    }

    /// Shows the attributes of a span under which others stand.
    ///
    /// # Errors
    /// When the page does not show it.
    pub fn select(&self, page: &mut Browser, span: &str, attribute: &str) -> Result<()> {
        page.value(&format!(
            "[...{}.parentElement.querySelectorAll('span')].find((part) => !part.children.length && part.textContent).click()",
            toggle(span)
        ))?;
        page.wait(&format!("document.body.innerText.includes('{attribute}')"))
    }
}

fn toggle(span: &str) -> String {
    format!("document.querySelector('[data-testid=\"toggle-timeline-span-expanded-{span}\"]')")
}

impl Drop for Viewer {
    fn drop(&mut self) {
        // It has a process of its own to end.
        let _ = process::signal(self.child.id(), "TERM");
        if !process::gone(self.child.id(), Duration::from_secs(10)) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
