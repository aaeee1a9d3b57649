//! The arguments that say who may use the API.

use std::{env::VarError, path::PathBuf};

use anyhow::{Context as _, Result};
use csd_orchestrator::access::{Access, Keys, Origins};

/// Where keys may stand beside a file. It is read from the environment alone: arguments are for everybody to see.
const API_KEY: &str = "CSD_API_KEY";

/// Who may use the API.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Door {
    /// API keys, one a line, one of which each request must bring as `Authorization: Bearer KEY`; those in the environment
    /// variable CSD_API_KEY, separated by commas, are taken, too. Without any, requests need none.
    #[arg(long, value_name = "FILE", env = "CSD_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,
    /// Let pages of this origin use the API in browsers, * for any; may be given several times.
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    origins: Vec<String>,
}

impl Door {
    /// Reads file and environment.
    ///
    /// # Errors
    /// The file cannot be read, or there is something in it that is no key.
    pub(crate) fn access(&self) -> Result<Access> {
        let mut keys = environment()?;
        if let Some(path) = &self.api_key_file {
            let named = || format!("--api-key-file {}", path.display());
            let text = std::fs::read_to_string(path).with_context(named)?;
            keys = keys.and(&Keys::parse(&text).with_context(named)?);
        }
        let origins = Origins::parse(self.origins.iter().map(String::as_str));
        Ok(Access {
            keys,
            origins: origins.context("--allow-origin")?,
        })
    }
}

/// The key that this program itself brings to an API: the first of the environment.
pub(crate) fn first_key() -> Option<String> {
    let keys = std::env::var(API_KEY).ok()?;
    let mut keys = keys.split(',').map(str::trim);
    keys.find(|key| !key.is_empty()).map(str::to_owned)
}

/// The keys of the environment; none where the variable is empty.
fn environment() -> Result<Keys> {
    match std::env::var(API_KEY) {
        Ok(keys) if !keys.trim().is_empty() => {
            Keys::parse(&keys.replace(',', "\n")).context(API_KEY)
        }
        Ok(_) | Err(VarError::NotPresent) => Ok(Keys::default()),
        // Keys were meant, and without any the door would be open.
        Err(error) => Err(error).context(API_KEY),
    }
}
