//! The command line of `csd worker`, and the environment behind it.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;

use crate::TlsArgs;

/// Serve one level of a cascade file, as `csd.v1.Level` over gRPC.
///
/// Once it answers calls it prints one line, {"level": …, "pid": …, "address": …, "metrics": …}. SIGTERM or SIGINT drains
/// it. What is given here beats the environment, which beats the file.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  csd worker --level draft                                 a level of the bundled cascade, at a free port
  csd worker --cascade cascade.toml --level target --listen 0.0.0.0:50051 --threads 8")]
pub struct Args {
    /// The cascade file; without one, the bundled cascade (config/tiny.toml).
    #[arg(long, alias = "config", value_name = "FILE", env = "CSD_CASCADE")]
    pub cascade: Option<PathBuf>,
    /// The level to serve, by its name in the file.
    #[arg(long, value_name = "NAME", env = "CSD_LEVEL")]
    pub level: String,
    /// Where to listen; port 0 picks a free one [default: the file's `listen`, else 127.0.0.1:0].
    #[arg(long, value_name = "ADDR:PORT", env = "CSD_LISTEN")]
    pub listen: Option<String>,
    /// Where to answer Prometheus at /metrics; port 0 picks a free one [default: the file's `metrics`, else 127.0.0.1:0].
    #[arg(long, value_name = "ADDR:PORT", env = "CSD_METRICS")]
    pub metrics: Option<String>,
    /// Another model than the file's: a Hugging Face folder or a GGUF file.
    #[arg(long, value_name = "PATH", env = "CSD_MODEL")]
    pub model: Option<PathBuf>,
    /// How linear weights are held: f32, bf16, q8_0 or q4_k.
    #[arg(long, value_name = "TYPE", env = "CSD_DTYPE")]
    pub dtype: Option<String>,
    /// Where to compute: cpu, or cuda:N in a build with the feature `cuda`.
    #[arg(long, value_name = "DEVICE", env = "CSD_DEVICE")]
    pub device: Option<String>,
    /// Threads of a forward.
    #[arg(long, value_name = "N", env = "CSD_THREADS")]
    pub threads: Option<usize>,
    /// Positions offered, at most what the model has.
    #[arg(long, value_name = "N", env = "CSD_CONTEXT")]
    pub context: Option<usize>,
    /// Limit on key/value caches.
    #[arg(long, value_name = "MIB", env = "CSD_CACHE_MIB")]
    pub cache_mib: Option<usize>,
    /// Remember texts that have ended in so much memory; they help later texts of their tenant.
    #[arg(long, value_name = "MIB", env = "CSD_MEMORY_MIB")]
    pub memory_mib: Option<usize>,
    /// Calls that may wait; more are refused.
    #[arg(long, value_name = "N", env = "CSD_QUEUE")]
    pub queue: Option<usize>,
    /// Emulate hardware, as the file or the next two options ask. Refused without, so that nobody measures it unawares.
    #[arg(long, env = "CSD_ALLOW_EMULATION", value_parser = BoolishValueParser::new())]
    pub allow_emulation: bool,
    /// What a forward is to take by its rows, instead of what it takes: lines between these points. Needs --allow-emulation.
    #[arg(long, value_name = "ROWS:MS,…", env = "CSD_EMULATE_FORWARD_MS", value_delimiter = ',', value_parser = point)]
    pub emulate_forward_ms: Vec<(usize, f64)>,
    /// What a link is to add to the round trip of every call, half before it and half after. Needs --allow-emulation.
    #[arg(long, value_name = "MS", env = "CSD_EMULATE_ROUND_TRIP_MS")]
    pub emulate_round_trip_ms: Option<f64>,
    /// Its certificates.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// End when standard input ends. Whoever starts the worker holds a pipe to it, so that it cannot outlive them.
    #[arg(long)]
    pub with_parent: bool,
}

/// `ROWS:MS`
fn point(text: &str) -> Result<(usize, f64), String> {
    let point = text.trim().split_once(':');
    let point = point.and_then(|(rows, ms)| Some((rows.parse().ok()?, ms.parse().ok()?)));
    point.ok_or_else(|| "write ROWS:MS, for example 1:30,17:34".into())
}
