//! A process's subscriber, from its start to the last flush.

use std::io::{IsTerminal, stderr};

use csd_names as names;
use opentelemetry::global;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, FilterExt, ParseError, Targets, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{fmt, registry};

use crate::export::{Export, ExportError};
use crate::{Format, Options};

/// Why a process could not start to log.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The log filter cannot be read.
    #[error("log filter `{filter}`: {source}")]
    Filter {
        /// The directives.
        filter: String,
        /// What is wrong with them.
        source: ParseError,
    },
    /// Traces cannot be exported as asked.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// This process logs already.
    #[error("logging was initialised twice: {0}")]
    Twice(#[from] TryInitError),
}

/// Flushes and stops the export when it is dropped, within two seconds even when the collector is gone.
#[must_use = "dropping the guard ends the export of traces"]
#[derive(Debug)]
pub struct Guard {
    /// Held for its own drop.
    _export: Option<Export>,
}

/// Starts to log to standard error, and to export traces if a collector is named. Needs no async runtime around it.
///
/// `service` is the process's `service.name`, e.g. `csd-worker`.
///
/// # Errors
/// A filter or an endpoint that cannot be read, and a second call. A collector that does not answer is no error: that is
/// logged, and spans are dropped.
pub fn init(service: &str, options: &Options) -> Result<Guard, InitError> {
    let filter = options.filter.as_deref().unwrap_or(Options::DEFAULT_FILTER);
    let filter = EnvFilter::try_new(filter).map_err(|source| InitError::Filter {
        filter: filter.into(),
        source,
    })?;
    let lines = fmt::layer()
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    let lines = match options.format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };

    let export = match &options.otlp_endpoint {
        Some(endpoint) => Some(Export::start(
            service,
            options.instance.as_deref(),
            endpoint,
        )?),
        None => None,
    };
    let spans = export.as_ref().map(|export| {
        let layer = tracing_opentelemetry::layer()
            .with_tracer(export.tracer())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        // Spans of csd alone: those of the libraries would drown them, and exporting would trace itself. Of its events,
        // what went wrong and what the planner decided: the rest is for the log.
        layer.with_filter(
            Targets::new()
                .with_target("csd", Level::INFO)
                .with_target(names::PLANNER, Level::DEBUG)
                .and(filter_fn(|metadata| {
                    let planned = metadata.target() == names::PLANNER;
                    metadata.is_span() || planned || *metadata.level() <= Level::WARN
                })),
        )
    });

    registry()
        .with(lines.with_filter(filter))
        .with(spans)
        .try_init()?;
    if export.is_some() {
        global::set_text_map_propagator(TraceContextPropagator::new());
    }
    Ok(Guard { _export: export })
}
