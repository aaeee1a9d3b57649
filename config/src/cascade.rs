//! The file as programs use it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{Emulation, check::Check, raw};

/// The cascade that is built in, so that `csd` works from anywhere in a clone of the project.
const TINY: &str = include_str!("../tiny.toml");

/// Why a cascade file was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the cascade file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or has a field that does not exist, or one of the wrong type.
    #[error("{origin}: {source}")]
    Syntax {
        /// The file, or "built-in cascade".
        origin: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A field has a value that cannot be.
    #[error("{origin}: {field}: {reason}")]
    Invalid {
        /// The file, or "built-in cascade".
        origin: String,
        /// The field.
        field: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

/// A checked cascade.
#[derive(Clone, Debug)]
pub struct Cascade {
    /// Its name; also the id under which the API offers the model.
    pub name: String,
    /// A folder with `tokenizer.json`, or such a file, when the levels' own folders do not have one.
    pub tokenizer: Option<PathBuf>,
    /// Where the API listens unless told otherwise.
    pub listen: Option<String>,
    /// The plan of requests that bring none.
    pub plan: Plan,
    /// Deadlines and bounds.
    pub limits: Limits,
    /// The certificates of whoever reads this file: worker or orchestrator.
    pub tls: Tls,
    /// The levels, target first, Max-Gram (if any) last.
    pub levels: Vec<Level>,
}

/// The plan as written; the cascade itself checks it against its number of levels.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// The target alone.
    Off,
    /// A published setting by name.
    Preset(String),
    /// Rows: reviewers from the target down; columns: drafters 1 to n.
    Matrix {
        /// Start thresholds.
        k: Vec<Vec<u32>>,
        /// Looseness between drafters, at least 1.
        lenience: f32,
        /// Whether the levels draft on while the target reviews.
        pipelined: bool,
    },
}

/// Deadlines and bounds of the orchestrator.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a drafter may take before it is stepped over.
    pub draft_timeout: Duration,
    /// How long the target may take.
    pub verify_timeout: Duration,
    /// Requests that run at once.
    pub concurrent_requests: usize,
    /// Requests that may wait beyond those; more are refused with 429.
    pub waiting_requests: usize,
    /// The largest request body in bytes.
    pub body_bytes: usize,
}

/// PEM files for TLS between orchestrator and workers. Each process may have its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whom to trust. A worker that has it lets in nobody without a certificate of it.
    pub ca: Option<PathBuf>,
    /// Who one is: a worker to its callers, the orchestrator to its workers.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key.
    pub key: Option<PathBuf>,
}

/// One level.
#[derive(Clone, Debug)]
pub struct Level {
    /// Its name: target, draft, …
    pub name: String,
    /// Model or Max-Gram.
    pub source: Source,
    /// What its Max-Gram remembers of texts that have ended, if anything.
    pub memory: Option<Memory>,
    /// Calls that may wait; more are refused.
    pub queue: usize,
    /// Where the orchestrator finds it: one address a replica, or a name that stands for several. `csd up` fills it in
    /// for the levels it starts.
    pub addresses: Vec<String>,
    /// Whether a target's replicas may compute other bits than each other. A text may then change where its replica does.
    pub allow_other_numerics: bool,
    /// Where its worker listens.
    pub listen: Option<String>,
    /// Hardware that it pretends to run on. A worker refuses that unless it is told twice.
    pub emulate: Option<Emulation>,
    /// Where its worker answers `GET /metrics`.
    pub metrics: Option<String>,
}

/// What a level serves.
#[derive(Clone, Debug)]
pub enum Source {
    /// A checkpoint: a Hugging Face folder or a GGUF file.
    Neural {
        /// Folder or file.
        model: PathBuf,
        /// How linear weights are held.
        weights: Weights,
        /// `cpu`, `cuda:0`, …
        device: String,
        /// Threads of a forward.
        threads: usize,
        /// Rows of a forward that cost little more than one: a review never has more. Left out, the engine knows.
        rows: Option<usize>,
        /// Positions offered, at most what the model has.
        context: Option<usize>,
        /// Limit on key/value caches in bytes.
        cache_bytes: usize,
        /// Whether a Max-Gram runs inside the worker.
        assisted: bool,
        /// Its fallback table.
        bigram: Option<PathBuf>,
    },
    /// Max-Gram as a process of its own.
    MaxGram {
        /// A folder with the `tokenizer.json` whose ids it speaks.
        model: PathBuf,
        /// Its fallback table.
        bigram: Option<PathBuf>,
    },
}

/// What a Max-Gram remembers beyond a text's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Limit in bytes.
    pub bytes: usize,
    /// Whether texts help all tenants, and not their own alone.
    pub across_tenants: bool,
}

/// How linear weights are held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// As 32-bit floats. A GGUF file's quantised tensors stay quantised.
    F32,
    /// As 16-bit floats (bfloat16): half the bytes, and the same numbers for a checkpoint stored so.
    Bf16,
    /// 8-bit blocks of 32.
    Q8_0,
    /// 4-bit super-blocks of 256.
    Q4K,
}

impl Cascade {
    /// Reads and checks a file. Paths in it resolve against its own folder.
    ///
    /// # Errors
    /// [`Error`], naming the file and the field.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder, &path.display().to_string())
    }

    /// The built-in cascade over the bundled models, which it looks for in `start` and the folders above it.
    ///
    /// # Errors
    /// [`Error::Invalid`] when none of them has `config` and `models/tiny`.
    pub fn built_in(start: &Path) -> Result<Self, Error> {
        let origin = "built-in cascade config/tiny.toml";
        let root = start.ancestors().find(|folder| folder.join("models/tiny").is_dir()).ok_or_else(|| {
            let reason = format!(
                "no models/tiny in {} or above it; run csd inside a clone of the project, or name a cascade file",
                start.display()
            );
            Error::Invalid { origin: origin.into(), field: "model".into(), reason }
        })?;
        Self::parse(TINY, &root.join("config"), origin)
    }

    fn parse(text: &str, folder: &Path, origin: &str) -> Result<Self, Error> {
        let file: raw::File = toml::from_str(text).map_err(|source| Error::Syntax {
            origin: origin.into(),
            source: Box::new(source),
        })?;
        Check { origin, folder }.cascade(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cascade of two levels, with a line of its own in each.
    fn parse(target: &str, draft: &str) -> Result<Cascade, Error> {
        let text = format!(
            "name = \"x\"\n[[level]]\nname = \"target\"\nmodel = \"a\"\n{target}\n[[level]]\nname = \"draft\"\nmodel = \"b\"\n{draft}\n"
        );
        Cascade::parse(&text, Path::new("."), "test")
    }

    #[test]
    fn a_level_has_one_address_several_or_none() {
        let cascade = parse(
            "address = [\"http://a:1\", \"http://b:1\"]\nallow_other_numerics = true",
            "address = \"http://c:1\"",
        );
        let levels = cascade.expect("valid").levels;
        assert_eq!(levels[0].addresses, ["http://a:1", "http://b:1"]);
        assert_eq!(levels[1].addresses, ["http://c:1"]);
        assert!(levels[0].allow_other_numerics && !levels[1].allow_other_numerics);
        assert!(parse("", "").expect("valid").levels[0].addresses.is_empty());
    }

    #[test]
    fn a_max_gram_remembers_what_the_file_allows() {
        let shared = "memory = { mib = 2, across_tenants = true }";
        let levels = parse("memory = { mib = 1 }", shared).expect("valid").levels;
        let memory = |bytes, across_tenants| {
            Some(Memory {
                bytes,
                across_tenants,
            })
        };
        assert_eq!(levels[0].memory, memory(1 << 20, false));
        assert_eq!(levels[1].memory, memory(2 << 20, true));
        assert_eq!(parse("", "").expect("valid").levels[0].memory, None);
        for (line, field) in [
            ("memory = { mib = 0 }", "level \"target\".memory.mib"),
            (
                "assisted = false\nmemory = { mib = 1 }",
                "level \"target\".memory",
            ),
            ("memory = { }", "missing field `mib`"),
            ("memory = { mib = 1, tenants = true }", "`tenants`"),
        ] {
            let error = parse(line, "").expect_err(field).to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn odd_addresses_are_refused_by_name() {
        for (target, draft, field) in [
            (
                "address = [\"a:1\", \"a:1\"]",
                "",
                "level \"target\".address",
            ),
            ("address = 7", "", "an address, or a list of addresses"),
            (
                "",
                "allow_other_numerics = true",
                "level \"draft\".allow_other_numerics",
            ),
        ] {
            let error = parse(target, draft).expect_err(field).to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
