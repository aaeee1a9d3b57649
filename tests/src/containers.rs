//! The compose file in a project of its own: containers started, disturbed, looked at, and removed with all they left.

use std::{
    collections::HashSet,
    net::TcpListener,
    ops::Deref,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{Client, process, root};

/// What every image and container of a test is named after.
const PREFIX: &str = "csd-test";

/// Services whose health compose knows.
pub const OURS: [&str; 5] = ["target", "draft", "mini", "maxgram", "orchestrator"];

/// Whether a Docker engine answers.
pub fn engine_runs() -> bool {
    run(Command::new("docker").arg("info")).is_ok()
}

/// A running compose project; dropping it removes containers, networks, volumes and the images that were made.
///
/// With `CSD_TEST_KEEP` in the environment the images stay, and the next run is short.
pub struct Stack {
    client: Client,
    project: String,
    /// The variables of the compose file.
    environment: Vec<(String, String)>,
    /// Images that were there before.
    images: HashSet<String>,
}

impl Stack {
    /// Builds the image, starts the services of the default profile and `more`, and waits until ours are healthy.
    ///
    /// # Errors
    /// When a step fails, with what it said.
    pub fn start(more: &[&str], settings: &[(&str, &str)]) -> Result<Self> {
        let images = images()?;
        let made = run(&mut Command::new(root().join("tests/compose/stand_ins.sh")))?;
        let mut environment: Vec<(String, String)> = made
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let mut set = |name: &str, value: String| environment.push((name.into(), value));
        set("CSD_IMAGE", format!("{PREFIX}/csd"));
        let api = free_address()?;
        set("CSD_PUBLISH", api.clone());
        for name in ["CSD_JAEGER_PUBLISH", "CSD_PROMETHEUS_PUBLISH"] {
            set(name, free_address()?);
        }
        for (name, value) in settings {
            set(name, (*value).into());
        }
        let stack = Self {
            client: Client::new(format!("http://{api}")),
            project: format!("{PREFIX}-{}", std::process::id()),
            environment,
            images,
        };
        stack.compose(&["build"])?;
        stack.up(more)?;
        Ok(stack)
    }

    /// `compose up -d` and patience.
    ///
    /// # Errors
    /// When a service does not become healthy, with its last words.
    pub fn up(&self, more: &[&str]) -> Result<()> {
        self.compose(&[&["up", "-d", "orchestrator"], more].concat())?;
        for service in OURS {
            let healthy = process::wait(Duration::from_secs(120), || self.is_healthy(service));
            ensure!(healthy, "{service} is not healthy: {}", self.logs(service)?);
        }
        Ok(())
    }

    /// A variable of the compose file.
    pub fn variable(&self, name: &str) -> &str {
        let found = self.environment.iter().rev().find(|(set, _)| set == name);
        found.map_or("", |(_, value)| value)
    }

    /// Runs compose on the project.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn compose(&self, arguments: &[&str]) -> Result<String> {
        let mut command = compose();
        command.args(["-p", &self.project]).args(arguments);
        run(command
            .current_dir(root())
            .envs(self.environment.iter().cloned()))
    }

    /// A service's container, as `docker inspect` shows it.
    ///
    /// # Errors
    /// When there is none.
    pub fn inspect(&self, service: &str) -> Result<Value> {
        let found: Value = serde_json::from_str(&docker(&["inspect", &self.container(service)?])?)?;
        Ok(found[0].clone())
    }

    /// Whether a service's own check says so.
    pub fn is_healthy(&self, service: &str) -> bool {
        let state = self
            .inspect(service)
            .map(|container| container["State"].clone());
        state.is_ok_and(|state| state["Running"] == true && state["Health"]["Status"] == "healthy")
    }

    /// What a service has logged.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn logs(&self, service: &str) -> Result<String> {
        let output = Command::new("docker")
            .args(["logs", &self.container(service)?])
            .output()?;
        Ok([output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat())
    }

    /// Kills a service's process from inside: unlike `docker kill`, that is for the restart policy to mend.
    ///
    /// # Errors
    /// When there is nothing to kill.
    pub fn kill(&self, service: &str) -> Result<()> {
        let container = self.container(service)?;
        let restarts = || docker(&["inspect", "-f", "{{.RestartCount}}", &container]);
        let before = restarts()?;
        // The shell that does it dies with the rest, so its own end says nothing.
        let _ = docker(&["exec", &container, "sh", "-c", "kill -KILL -1"]);
        let restarted = || restarts().is_ok_and(|now| now != before);
        ensure!(
            process::wait(Duration::from_secs(20), restarted),
            "{service} was not restarted"
        );
        Ok(())
    }

    /// Freezes a service's processes.
    ///
    /// # Errors
    /// When there are none.
    pub fn pause(&self, service: &str) -> Result<()> {
        docker(&["pause", &self.container(service)?]).map(drop)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// When they were not frozen.
    pub fn unpause(&self, service: &str) -> Result<()> {
        docker(&["unpause", &self.container(service)?]).map(drop)
    }

    /// Pulls a service's network cable.
    ///
    /// # Errors
    /// When it has none.
    pub fn cut(&self, service: &str) -> Result<()> {
        docker(&[
            "network",
            "disconnect",
            &self.network(),
            &self.container(service)?,
        ])
        .map(drop)
    }

    /// Plugs it in again, under the service's name.
    ///
    /// # Errors
    /// When it is in.
    pub fn rejoin(&self, service: &str) -> Result<()> {
        let container = self.container(service)?;
        docker(&[
            "network",
            "connect",
            "--alias",
            service,
            &self.network(),
            &container,
        ])
        .map(drop)
    }

    /// The network of the levels.
    pub fn network(&self) -> String {
        format!("{}_levels", self.project)
    }

    fn container(&self, service: &str) -> Result<String> {
        let id = self.compose(&["ps", "-q", service])?.trim().to_owned();
        ensure!(!id.is_empty(), "{service} has no container");
        Ok(id)
    }
}

impl Deref for Stack {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Err(error) =
            self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "5"])
        {
            eprintln!("{error:#}");
        }
        if std::env::var_os("CSD_TEST_KEEP").is_some() {
            return;
        }
        // Children go before their parents, so some need another turn.
        for _ in 0..4 {
            let left = images().unwrap_or_default();
            for image in left.difference(&self.images) {
                let _ = docker(&["image", "rm", "--force", image]);
            }
        }
    }
}

/// The compose tool that is there.
fn compose() -> Command {
    let mut plugin = Command::new("docker");
    plugin.arg("compose");
    if run(Command::new("docker").args(["compose", "version"])).is_ok() {
        return plugin;
    }
    Command::new("docker-compose")
}

/// Images that a test may have made, by id: those it named, and the nameless ones of the Dockerfile's stages.
fn images() -> Result<HashSet<String>> {
    let mut ids = HashSet::new();
    for filter in [format!("reference={PREFIX}/*"), "label=csd.stage".into()] {
        let found = docker(&["images", "--quiet", "--no-trunc", "--filter", &filter])?;
        ids.extend(found.lines().map(str::to_owned));
    }
    Ok(ids)
}

fn docker(arguments: &[&str]) -> Result<String> {
    run(Command::new("docker").args(arguments))
}

/// Runs a command that must succeed; answers its output.
fn run(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !status.success() {
        bail!(
            "{command:?}: {status}\n{}",
            String::from_utf8_lossy(&stderr)
        );
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// A loopback address with a port that is free now.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
