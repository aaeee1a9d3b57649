//! A container without compose.

use std::ops::Deref;

use anyhow::Result;

use super::{Container, docker};
use crate::{Client, process};

/// A container of an image alone, as confined as compose and Kubernetes have ours; dropping it removes it.
pub struct Single {
    container: Container,
    /// Its port 8080.
    pub client: Client,
}

impl Single {
    /// `docker run` with further options and a command.
    ///
    /// # Errors
    /// When it does not start, with what was said.
    pub fn run(image: &str, options: &[&str], command: &[&str]) -> Result<Self> {
        let api = process::free_address()?;
        let publish = format!("--publish={api}:8080");
        let confined = ["run", "--detach", "--read-only", "--cap-drop=ALL", &publish];
        let id = docker(&[&confined, options, &[image], command].concat())?;
        Ok(Self {
            container: Container {
                id: id.trim().to_owned(),
                service: image.to_owned(),
                network: "bridge".to_owned(),
            },
            client: Client::new(format!("http://{api}")),
        })
    }
}

impl Deref for Single {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.container
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        if let Err(error) = docker(&["rm", "--force", "--volumes", &self.container.id]) {
            eprintln!("{error:#}");
        }
    }
}
