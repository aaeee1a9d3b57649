//! The file as it is written.

use std::path::PathBuf;

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub name: String,
    pub tokenizer: Option<PathBuf>,
    pub listen: Option<String>,
    pub plan: Option<Plan>,
    #[serde(default)]
    pub tls: Tls,
    #[serde(default)]
    pub limits: Limits,
    #[serde(rename = "level")]
    pub levels: Vec<Level>,
}

/// `[plan]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    pub preset: Option<String>,
    pub k: Option<Vec<Vec<u32>>>,
    pub lenience: Option<f32>,
    pub pipelined: Option<bool>,
}

/// `[tls]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub ca: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub draft_timeout_ms: Option<u64>,
    pub verify_timeout_ms: Option<u64>,
    pub concurrent_requests: Option<usize>,
    pub waiting_requests: Option<usize>,
    pub body_bytes: Option<usize>,
}

/// `[[level]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Level {
    pub name: String,
    #[serde(default)]
    pub kind: Kind,
    pub model: PathBuf,
    pub dtype: Option<Dtype>,
    pub device: Option<String>,
    pub threads: Option<usize>,
    pub rows: Option<usize>,
    pub context: Option<usize>,
    pub cache_mib: Option<usize>,
    pub bigram: Option<PathBuf>,
    pub memory: Option<Memory>,
    pub metrics: Option<String>,
    pub assisted: Option<bool>,
    pub queue: Option<usize>,
    pub address: Option<Addresses>,
    pub allow_other_numerics: Option<bool>,
    pub listen: Option<String>,
    pub emulate: Option<Emulate>,
}

/// `memory = { … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    pub mib: usize,
    #[serde(default)]
    pub across_tenants: bool,
}

/// `emulate = { … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Emulate {
    #[serde(default)]
    pub forward_ms: Vec<(usize, f64)>,
    #[serde(default)]
    pub round_trip_ms: f64,
}

/// `address = "…"`, or `address = ["…", "…"]` for the replicas of a level.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "an address, or a list of addresses")]
pub(crate) enum Addresses {
    One(String),
    Several(Vec<String>),
}

/// `kind = "…"`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    #[default]
    Neural,
    Maxgram,
}

/// `dtype = "…"`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dtype {
    F32,
    Bf16,
    #[serde(rename = "q8_0")]
    Q8_0,
    #[serde(rename = "q4_k")]
    Q4K,
}
