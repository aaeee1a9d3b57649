//! TLS on both ends: whom a process trusts, and how it proves who it is.
//!
//! Three PEM files, each end with its own: `ca` (whom to trust), `certificate` and `key` (who one is). A server with all
//! three lets nobody in who cannot show a certificate of that CA: mutual TLS.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tonic::transport::{
    Certificate, ClientTlsConfig, Endpoint, Error, Identity, Server, ServerTlsConfig,
};

use crate::{Address, status};

/// Why the files of a process cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("tls.{field}: cannot read {}: {source}", path.display())]
    Unreadable {
        /// `ca`, `certificate` or `key`.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("tls.{field}: {}: {reason}", path.display())]
    Wrong {
        /// `ca`, `certificate` or `key`.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// One of the files is not given, and the others mean nothing without it.
    #[error("tls.{field}: is missing: {reason}")]
    Missing {
        /// `ca`, `certificate` or `key`.
        field: &'static str,
        /// What it is needed for.
        reason: &'static str,
    },
}

/// How a client trusts, and who it is. Its debug form keeps the key to itself.
#[derive(Clone)]
pub struct ClientTls(ClientTlsConfig);

/// Who a server is, and whom it lets in. Its debug form keeps the key to itself.
#[derive(Clone)]
pub struct ServerTls(ServerTlsConfig);

impl ClientTls {
    /// Reads the files of a client; none if there is none to read.
    ///
    /// # Errors
    /// [`TlsError`] naming the field and the file.
    pub fn load(
        ca: Option<&Path>,
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Option<Self>, TlsError> {
        let identity = identity(certificate, key)?;
        let Some(ca) = ca else {
            return match identity {
                None => Ok(None),
                Some(_) => Err(TlsError::Missing {
                    field: "ca",
                    reason: "without it, no server can be trusted",
                }),
            };
        };
        let config = ClientTlsConfig::new().ca_certificate(certificates("ca", ca)?);
        Ok(Some(Self(match identity {
            Some(identity) => config.identity(identity),
            None => config,
        })))
    }

    /// An endpoint whose other side must show a certificate for the host of `address`.
    ///
    /// # Errors
    /// The host is no name that a certificate can have.
    pub fn secure(&self, endpoint: Endpoint, address: &Address) -> Result<Endpoint, Error> {
        let host = address.host().trim_matches(['[', ']']);
        endpoint.tls_config(self.0.clone().domain_name(host))
    }
}

impl ServerTls {
    /// Reads the files of a server; none if there is none to read.
    ///
    /// # Errors
    /// [`TlsError`] naming the field and the file.
    pub fn load(
        ca: Option<&Path>,
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Option<Self>, TlsError> {
        let identity = identity(certificate, key)?;
        match (identity, ca) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(TlsError::Missing {
                field: "certificate",
                reason: "a server that checks its callers needs one, and a key, of its own",
            }),
            (Some(identity), ca) => {
                let config = ServerTlsConfig::new().identity(identity);
                let config = match ca {
                    Some(ca) => config.client_ca_root(certificates("ca", ca)?),
                    None => config,
                };
                Ok(Some(Self(config)))
            }
        }
    }

    pub(crate) fn secure(&self, server: Server) -> Result<Server, Error> {
        server.tls_config(self.0.clone())
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

/// Certificate and key, which come together or not at all, and belong together.
fn identity(certificate: Option<&Path>, key: Option<&Path>) -> Result<Option<Identity>, TlsError> {
    let missing = |field, reason| Err(TlsError::Missing { field, reason });
    let (chain, key) = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some(_), None) => return missing("key", "a certificate is nothing without its key"),
        (None, Some(_)) => return missing("certificate", "a key is nothing without it"),
        (Some(certificate), Some(key)) => (certificates("certificate", certificate)?, key),
    };
    let pem = read("key", key)?;
    let wrong = |reason: String| TlsError::Wrong {
        field: "key",
        path: key.to_owned(),
        reason,
    };
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| wrong(format!("holds no private key in PEM: {error}")))?;
    let identity = Identity::from_pem(chain, pem);
    let tried = Server::builder().tls_config(ServerTlsConfig::new().identity(identity.clone()));
    tried.map_err(|error| {
        let reason = status::causes(&error);
        wrong(format!("does not go with the certificate: {reason}"))
    })?;
    Ok(Some(identity))
}

/// A file of at least one certificate.
fn certificates(field: &'static str, path: &Path) -> Result<Certificate, TlsError> {
    let pem = read(field, path)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let reason = match found {
        Ok(found) if !found.is_empty() => return Ok(Certificate::from_pem(pem)),
        Ok(_) => "holds no certificate in PEM".to_owned(),
        Err(error) => format!("holds no certificate in PEM: {error}"),
    };
    Err(TlsError::Wrong {
        field,
        path: path.to_owned(),
        reason,
    })
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable {
        field,
        path: path.to_owned(),
        source,
    })
}
