//! What is logged, how, and where traces go.

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What a process logs and where its traces go. The default reads no environment and exports nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// What to log, as directives of [`tracing_subscriber::EnvFilter`]; without it [`Options::DEFAULT_FILTER`].
    pub filter: Option<String>,
    /// The shape of a line.
    pub format: Format,
    /// The collector to send traces to, e.g. `http://localhost:4317` (gRPC); without it none are recorded.
    pub otlp_endpoint: Option<String>,
    /// What tells this process from others of the same service; without it a random id.
    pub instance: Option<String>,
}

impl Options {
    /// Everything of csd from `INFO`, the rest from `WARN`.
    pub const DEFAULT_FILTER: &str = "warn,csd=info";

    /// What the environment asks for:
    ///
    /// - `CSD_LOG`, else `RUST_LOG`: the filter;
    /// - `CSD_LOG_FORMAT`: `text` or `json`;
    /// - `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, else `OTEL_EXPORTER_OTLP_ENDPOINT`: the collector, unless
    ///   `OTEL_SDK_DISABLED=true` or `OTEL_TRACES_EXPORTER=none`.
    ///
    /// Sampling, batching, headers, timeout and resource attributes follow the standard `OTEL_*` variables once a
    /// collector is named; the protocol is gRPC. An empty variable counts as unset.
    pub fn from_env() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| variable(name).filter(|value| !value.is_empty()))
        };
        let is =
            |name, value: &str| first(&[name]).is_some_and(|set| set.eq_ignore_ascii_case(value));
        let silent = is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none");
        let endpoint = first(&[
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ]);
        Self {
            filter: first(&["CSD_LOG", "RUST_LOG"]),
            format: if is("CSD_LOG_FORMAT", "json") {
                Format::Json
            } else {
                Format::Text
            },
            otlp_endpoint: endpoint.filter(|_| !silent),
            instance: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &[(&str, &str)]) -> Options {
        Options::read(|name| {
            environment
                .iter()
                .find(|(set, _)| *set == name)
                .map(|(_, value)| (*value).into())
        })
    }

    #[test]
    fn an_empty_environment_exports_nothing() {
        assert_eq!(read(&[]), Options::default());
        assert_eq!(
            read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", ""), ("CSD_LOG", "")]),
            Options::default()
        );
    }

    #[test]
    fn the_more_special_variable_wins() {
        let options = read(&[
            ("RUST_LOG", "info"),
            ("CSD_LOG", "debug"),
            ("CSD_LOG_FORMAT", "json"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4317"),
        ]);
        assert_eq!(options.filter.as_deref(), Some("debug"));
        assert_eq!(options.format, Format::Json);
        assert_eq!(options.otlp_endpoint.as_deref(), Some("http://traces:4317"));
        let general = read(&[
            ("RUST_LOG", "info"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317"),
        ]);
        assert_eq!(general.filter.as_deref(), Some("info"));
        assert_eq!(general.otlp_endpoint.as_deref(), Some("http://all:4317"));
    }

    #[test]
    fn the_standard_switches_turn_the_export_off() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317");
        assert_eq!(
            read(&[endpoint, ("OTEL_SDK_DISABLED", "true")]).otlp_endpoint,
            None
        );
        assert_eq!(
            read(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]).otlp_endpoint,
            None
        );
        assert!(
            read(&[endpoint, ("OTEL_TRACES_EXPORTER", "otlp")])
                .otlp_endpoint
                .is_some()
        );
    }
}
