//! One container of a service, and what can befall it.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{docker, run};
use crate::process;

/// A container that compose made.
#[derive(Clone, Debug)]
pub struct Container {
    pub(super) id: String,
    pub(super) service: String,
    /// The network of the levels.
    pub(super) network: String,
}

impl Container {
    /// As `docker inspect` shows it.
    ///
    /// # Errors
    /// When there is none any more.
    pub fn inspect(&self) -> Result<Value> {
        let found: Value = serde_json::from_str(&docker(&["inspect", &self.id])?)?;
        Ok(found[0].clone())
    }

    /// Whether its own check says so.
    pub fn is_healthy(&self) -> bool {
        let container = self.inspect().unwrap_or_default();
        let state = &container["State"];
        state["Running"] == true && state["Health"]["Status"] == "healthy"
    }

    /// What it has logged.
    ///
    /// # Errors
    /// When there is no engine.
    pub fn logs(&self) -> Result<String> {
        let output = Command::new("docker").args(["logs", &self.id]).output()?;
        Ok([output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat())
    }

    /// Runs a command inside.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn exec(&self, command: &[&str]) -> Result<String> {
        run(Command::new("docker")
            .args(["exec", &self.id])
            .args(command))
    }

    /// How long its process has computed. The engine and this program share a kernel.
    ///
    /// # Errors
    /// When it does not run.
    pub fn computed(&self) -> Result<Duration> {
        let container = self.inspect()?;
        let init = container["State"]["Pid"].as_u64().context("no process")?;
        let children = process::children(init as u32);
        Ok(children.into_iter().map(process::computed).sum())
    }

    /// Kills its process from inside: unlike `docker kill`, that is for the restart policy to mend.
    ///
    /// # Errors
    /// When there is nothing to kill.
    pub fn kill(&self) -> Result<()> {
        let restarts = || docker(&["inspect", "-f", "{{.RestartCount}}", &self.id]);
        let before = restarts()?;
        // The shell that does it dies with the rest, so its own end says nothing.
        let _ = self.exec(&["sh", "-c", "kill -KILL -1"]);
        let restarted = || restarts().is_ok_and(|now| now != before);
        ensure!(
            process::wait(Duration::from_secs(20), restarted),
            "{} was not restarted",
            self.service
        );
        Ok(())
    }

    /// Freezes its processes.
    ///
    /// # Errors
    /// When there are none.
    pub fn pause(&self) -> Result<()> {
        docker(&["pause", &self.id]).map(drop)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// When they were not frozen.
    pub fn unpause(&self) -> Result<()> {
        docker(&["unpause", &self.id]).map(drop)
    }

    /// Pulls its network cable.
    ///
    /// # Errors
    /// When it has none.
    pub fn cut(&self) -> Result<()> {
        docker(&["network", "disconnect", &self.network, &self.id]).map(drop)
    }

    /// Plugs it in again, under its service's name.
    ///
    /// # Errors
    /// When it is in.
    pub fn rejoin(&self) -> Result<()> {
        let alias = ["--alias", &self.service];
        let connect = [
            &["network", "connect"][..],
            &alias,
            &[&self.network, &self.id],
        ];
        docker(&connect.concat()).map(drop)
    }
}
