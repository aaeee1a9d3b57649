//! Logs, traces and metrics: what every process of csd starts with.
//!
//! [`init`] once, early in `main`; keep the [`Guard`] until the end. Logs go to standard error. Traces go nowhere unless an
//! OTLP endpoint is named ([`Options::otlp_endpoint`], or `OTEL_EXPORTER_OTLP_ENDPOINT` through [`Options::from_env`]);
//! then one request is one trace across all processes: a caller puts its span into the headers with [`inject`], the called
//! process continues it with [`set_parent`].
//!
//! In reading order:
//! - [`Options`]: what is logged, how, and where traces go; the environment is read here and nowhere else;
//! - [`init`] and [`Guard`]: a process's subscriber, from start to flush;
//! - [`inject`], [`set_parent`], [`end`]: a trace across HTTP headers, which gRPC metadata are too;
//! - [`names`]: every span and attribute name;
//! - [`metrics`]: what a process counts, as text for Prometheus.
//!
//! The crate never logs a prompt or a text, never opens a port, and never delays an exit by more than two seconds.

mod context;
mod export;
mod init;
pub mod metrics;
mod options;

pub use context::{end, inject, set_parent};
pub use csd_names as names;
pub use export::ExportError;
pub use init::{Guard, InitError, init};
pub use options::{Format, Options};
