//! A target of a size that a cascade is for: the bundled one, enlarged to the same function at a larger cost.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};

use crate::{binary, root};

/// A copy of the cascade file whose target is the bundled one, enlarged; made once.
///
/// # Errors
/// When it cannot be made.
pub fn enlarged(cascade: &str) -> Result<String> {
    let folder = root().join("target/enlarged");
    let model = folder.join("target");
    if !model.join("model.safetensors").is_file() {
        fs::create_dir_all(&folder)?;
        let source = root().join("models/tiny/target");
        let status = Command::new(binary()?)
            .args(["models", "enlarge"])
            .args([&source, &model])
            .status()?;
        ensure!(status.success(), "csd models enlarge: {status}");
    }
    let file = root().join(cascade);
    let text = fs::read_to_string(&file)?;
    let parent = file.parent().unwrap_or(Path::new("."));
    let models = format!("\"{}/", parent.join("../models").display());
    let text = text.replace(
        "\"../models/tiny/target\"",
        &format!("{:?}", model.display().to_string()),
    );
    let copy = folder.join("cascade.toml");
    fs::write(&copy, text.replace("\"../models/", &models))?;
    Ok(copy.display().to_string())
}
