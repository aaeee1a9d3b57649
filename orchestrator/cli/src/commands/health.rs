//! `csd health`: whether a worker or an orchestrator answers, for health checks of containers.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use csd_transport::{Address, ClientTls};
use csd_worker::TlsArgs;
use tokio::time::timeout;
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{client::Client, output};

/// Ask whether a worker or an orchestrator is healthy; exit code 0 says yes.
///
/// An orchestrator is asked over HTTP (GET /health), a worker over gRPC (grpc.health.v1). Which of them answers is found out;
/// https:// means a worker with TLS.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  csd health --addr http://127.0.0.1:8080
  csd health --addr 127.0.0.1:50051 --timeout 2")]
pub(crate) struct Args {
    /// Where it listens: [http://]HOST:PORT or https://HOST:PORT.
    #[arg(long, value_name = "URL")]
    addr: String,
    /// Seconds to wait for the answer.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    timeout: u64,
    #[command(flatten)]
    tls: TlsArgs,
}

/// Asks.
pub(crate) async fn run(args: Args) -> Result<()> {
    let bound = Duration::from_secs(args.timeout);
    let asked = timeout(bound, ask(&args.addr, &args.tls)).await;
    asked.with_context(|| format!("{} does not answer within {bound:?}", args.addr))??;
    output::line("healthy")
}

async fn ask(addr: &str, tls: &TlsArgs) -> Result<()> {
    let address = Address::parse(addr)?;
    if address.is_secure() {
        let (ca, certificate, key) = (&tls.ca, &tls.certificate, &tls.key);
        let tls = ClientTls::load(ca.as_deref(), certificate.as_deref(), key.as_deref())?;
        let tls = tls.context("https:// needs --tls-ca, whom to trust")?;
        let endpoint = tls.secure(Endpoint::from(address.uri().clone()), &address)?;
        return ask_worker(endpoint, addr).await;
    }
    let client = Client::new(addr)?;
    let url = client.url();
    // A gRPC server does not understand the first request and hangs up.
    match client.get("/health").await {
        Ok((status, _)) if status.is_success() => return Ok(()),
        Ok((status, body)) => {
            bail!(
                "{url} is not healthy: {status} {}",
                String::from_utf8_lossy(&body).trim()
            )
        }
        Err(error) if error.is::<std::io::Error>() => return Err(error),
        Err(_) => {}
    }
    ask_worker(Endpoint::from_shared(url.clone())?, &url).await
}

async fn ask_worker(endpoint: Endpoint, url: &str) -> Result<()> {
    let channel = endpoint.connect().await;
    let channel = channel.with_context(|| format!("{url} does not answer in gRPC"))?;
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await;
    match answer {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Ok(()),
        Ok(answer) => bail!(
            "{url} is not healthy: {}",
            answer.get_ref().status().as_str_name()
        ),
        Err(status) if status.code() == Code::Unimplemented => bail!("{url} has no health service"),
        Err(status) => bail!("{url} is not healthy: {}", status.message()),
    }
}
