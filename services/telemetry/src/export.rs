//! The way of spans to a collector: OTLP over gRPC, in batches, off the request path.

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, Value};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider};
use tokio::runtime::{Builder, Runtime};

use csd_names as names;

/// How long the last flush may take.
const SHUTDOWN: Duration = Duration::from_millis(1500);

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The endpoint is none, or asks for something that was not built in (TLS).
    #[error("OTLP endpoint `{endpoint}`: {source}")]
    Endpoint {
        /// The endpoint as given.
        endpoint: String,
        /// What is wrong with it.
        source: ExporterBuildError,
    },
    /// No thread for the connection.
    #[error("OTLP export: {0}")]
    Thread(#[from] std::io::Error),
}

/// A provider of spans and the runtime of its connection.
///
/// The runtime is its own, with one thread: so the process may have any runtime or none, and the last flush gets through
/// while the process's own threads stand still.
#[derive(Debug)]
pub(crate) struct Export {
    provider: SdkTracerProvider,
    runtime: Option<Runtime>,
}

impl Export {
    pub(crate) fn start(
        service: &str,
        instance: Option<&str>,
        endpoint: &str,
    ) -> Result<Self, ExportError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("csd-otlp")
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .map_err(|source| ExportError::Endpoint {
                endpoint: endpoint.into(),
                source,
            });
        drop(entered);
        let exporter = match exporter {
            Ok(exporter) => exporter,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource(service, instance))
            .build();
        Ok(Self {
            provider,
            runtime: Some(runtime),
        })
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("csd")
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(SHUTDOWN) {
            tracing::warn!(%error, "the last traces may be lost");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // dropping it would panic inside another runtime
        }
    }
}

/// Who sends the spans. What `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say comes first.
fn resource(service: &str, instance: Option<&str>) -> Resource {
    let random = || RandomIdGenerator::default().new_trace_id().to_string();
    let ours = [
        (names::SERVICE_NAME, service.to_owned()),
        (names::SERVICE_NAMESPACE, "csd".to_owned()),
        (names::SERVICE_VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        (
            names::SERVICE_INSTANCE_ID,
            instance.map_or_else(random, str::to_owned),
        ),
    ];
    let found = Resource::builder().build();
    let unset = |key: &'static str| match found.get(&key.into()) {
        None => true,
        Some(Value::String(value)) => value.as_str().starts_with("unknown_service"),
        Some(_) => false,
    };
    let ours = ours.into_iter().filter(|(key, _)| unset(key));
    Resource::builder()
        .with_attributes(ours.map(|(key, value)| KeyValue::new(key, value)))
        .build()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use opentelemetry::trace::Tracer;

    use super::*;

    fn shutdown_time(endpoint: &str) -> Duration {
        let export = Export::start("csd-test", None, endpoint).expect("an export");
        drop(export.tracer().start("a span"));
        let started = Instant::now();
        drop(export);
        started.elapsed()
    }

    #[test]
    fn a_collector_that_refuses_delays_an_exit_by_less_than_two_seconds() {
        let free = TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("its address");
        assert!(shutdown_time(&format!("http://{free}")) < Duration::from_secs(2));
    }

    #[test]
    fn a_collector_that_never_answers_delays_an_exit_by_less_than_two_seconds() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = silent.local_addr().expect("its address");
        assert!(shutdown_time(&format!("http://{address}")) < Duration::from_secs(2));
    }

    #[test]
    fn an_endpoint_that_is_none_is_named() {
        for endpoint in ["not an address", "https://localhost:4317"] {
            let error = Export::start("csd-test", None, endpoint)
                .expect_err("no endpoint")
                .to_string();
            assert!(error.contains(endpoint), "{error}");
        }
    }

    #[test]
    fn a_resource_says_who_sends() {
        let resource = resource("csd-test", Some("one"));
        let text = |key: &'static str| resource.get(&key.into()).map(|value| value.to_string());
        assert_eq!(text(names::SERVICE_NAME).as_deref(), Some("csd-test"));
        assert_eq!(text(names::SERVICE_NAMESPACE).as_deref(), Some("csd"));
        assert_eq!(
            text(names::SERVICE_VERSION).as_deref(),
            Some(env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(text(names::SERVICE_INSTANCE_ID).as_deref(), Some("one"));
    }
}
