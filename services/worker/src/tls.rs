//! The certificates of a process, as the command line and the environment give them.

use std::path::PathBuf;

use csd_config::Tls;

/// PEM files for TLS between orchestrator and workers, instead of those that the cascade file's `[tls]` names.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsArgs {
    /// Whom to trust: a CA. A worker that has it lets in nobody without a certificate of it.
    #[arg(long = "tls-ca", value_name = "PEM", env = "CSD_TLS_CA")]
    pub ca: Option<PathBuf>,
    /// This process's own certificate.
    #[arg(
        long = "tls-certificate",
        value_name = "PEM",
        env = "CSD_TLS_CERTIFICATE"
    )]
    pub certificate: Option<PathBuf>,
    /// Its private key.
    #[arg(long = "tls-key", value_name = "PEM", env = "CSD_TLS_KEY")]
    pub key: Option<PathBuf>,
}

impl TlsArgs {
    /// What is given here, and the file's word for the rest.
    #[must_use]
    pub fn over(&self, file: &Tls) -> Tls {
        Tls {
            ca: self.ca.clone().or(file.ca.clone()),
            certificate: self.certificate.clone().or(file.certificate.clone()),
            key: self.key.clone().or(file.key.clone()),
        }
    }
}
