//! The compose file in a project of its own: containers started, disturbed, looked at, and removed with all they left.

use std::{
    collections::HashMap,
    ops::Deref,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

mod container;
mod images;
mod single;

pub use container::Container;
pub use single::Single;

use self::images::Images;
use crate::{Client, process, root};

/// What every image and container of a test is named after.
const PREFIX: &str = "csd-test";

/// Services whose health compose knows.
pub const OURS: [&str; 5] = ["target", "draft", "mini", "maxgram", "orchestrator"];

/// How long a service may take to become healthy.
const START: Duration = Duration::from_secs(120);

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
    /// What is started beside the default profile.
    more: Vec<String>,
    /// How often a service runs that runs more than once.
    scale: HashMap<String, usize>,
    _images: Images,
}

impl Stack {
    /// Builds the image, starts the services of the default profile and `more`, and waits until ours are healthy.
    ///
    /// # Errors
    /// When a step fails, with what it said.
    pub fn start(more: &[&str], settings: &[(&str, &str)]) -> Result<Self> {
        let images = Images::note()?;
        let made = run(&mut Command::new(root().join("tests/compose/stand_ins.sh")))?;
        let variables = made.lines().filter_map(|line| line.split_once('='));
        let api = process::free_address()?;
        let mut stack = Self {
            client: Client::new(format!("http://{api}")),
            project: format!("{PREFIX}-{}", std::process::id()),
            environment: Vec::new(),
            more: more.iter().map(|service| (*service).to_owned()).collect(),
            scale: HashMap::new(),
            _images: images,
        };
        for (name, value) in variables.chain(settings.iter().copied()) {
            stack.set(name, value);
        }
        stack.set("CSD_IMAGE", &format!("{PREFIX}/csd"));
        stack.set("CSD_PUBLISH", &api);
        for name in ["CSD_JAEGER_PUBLISH", "CSD_PROMETHEUS_PUBLISH"] {
            stack.set(name, &process::free_address()?);
        }
        stack.compose(&["build"])?;
        stack.up()?;
        Ok(stack)
    }

    /// `compose up -d` and patience.
    ///
    /// # Errors
    /// When a service does not become healthy, with its last words.
    pub fn up(&self) -> Result<()> {
        let scale = self.scale.iter();
        let scale: Vec<_> = scale
            .map(|(service, n)| format!("--scale={service}={n}"))
            .collect();
        let mut arguments = vec!["up", "-d"];
        arguments.extend(scale.iter().map(String::as_str));
        arguments.push("orchestrator");
        arguments.extend(self.more.iter().map(String::as_str));
        self.compose(&arguments)?;
        for service in OURS {
            for container in self.containers(service)? {
                let healthy = process::wait(START, || container.is_healthy());
                ensure!(healthy, "{service} is not healthy: {}", container.logs()?);
            }
        }
        Ok(())
    }

    /// Lets a service run `times` times, from the next [`Stack::up`] on.
    pub fn scale(&mut self, service: &str, times: usize) {
        self.scale.insert(service.to_owned(), times);
    }

    /// Sets a variable of the compose file, or of compose itself; [`Stack::up`] puts it into effect.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(set, _)| set != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Brings an API key from now on, or none.
    pub fn bring(&mut self, key: Option<&str>) {
        self.client.key = key.map(str::to_owned);
    }

    /// A variable of the compose file.
    pub fn variable(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(set, _)| set == name);
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

    /// Our image, as it was built.
    pub fn image(&self) -> &str {
        self.variable("CSD_IMAGE")
    }

    /// The containers of a service.
    ///
    /// # Errors
    /// When compose does not know it.
    pub fn containers(&self, service: &str) -> Result<Vec<Container>> {
        let ids = self.compose(&["ps", "-q", service])?;
        let container = |id: &str| Container {
            id: id.to_owned(),
            service: service.to_owned(),
            network: format!("{}_levels", self.project),
        };
        Ok(ids.lines().map(container).collect())
    }

    /// The container of a service that runs once.
    ///
    /// # Errors
    /// When there is none.
    pub fn container(&self, service: &str) -> Result<Container> {
        let first = self.containers(service)?.into_iter().next();
        first.with_context(|| format!("{service} has no container"))
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
        let down = ["down", "--volumes", "--remove-orphans", "--timeout", "5"];
        if let Err(error) = self.compose(&down) {
            eprintln!("{error:#}");
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
