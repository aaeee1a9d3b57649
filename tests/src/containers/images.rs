//! The images that a test makes, and their removal.

use std::collections::HashSet;

use anyhow::Result;

use super::{PREFIX, docker};

/// Dropping it removes the images that were made since it was taken, unless `CSD_TEST_KEEP` is in the environment.
pub(super) struct Images(HashSet<String>);

impl Images {
    /// Notes what is there.
    pub(super) fn note() -> Result<Self> {
        Ok(Self(made()?))
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        if std::env::var_os("CSD_TEST_KEEP").is_some() {
            return;
        }
        // Children go before their parents, so some need another turn.
        for _ in 0..4 {
            let left = made().unwrap_or_default();
            for image in left.difference(&self.0) {
                let _ = docker(&["image", "rm", "--force", image]);
            }
        }
    }
}

/// Images that a test may have made, by id: those it named, and the nameless ones of the Dockerfile's stages.
fn made() -> Result<HashSet<String>> {
    let mut ids = HashSet::new();
    for filter in [format!("reference={PREFIX}/*"), "label=csd.stage".into()] {
        let found = docker(&["images", "--quiet", "--no-trunc", "--filter", &filter])?;
        ids.extend(found.lines().map(str::to_owned));
    }
    Ok(ids)
}
