//! TLS between a level and its caller: who is let in, who is trusted, and what is said of files that are wrong.

mod pipe;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use csd_level::{Error, Level};
use csd_transport::{
    ClientTls, LevelService, RemoteLevel, RemoteOptions, ServerTls, ServiceOptions, TlsError,
    incoming, serve_over,
};
use pipe::{review, scripted};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(5);

/// A CA in a folder of its own, which goes with it.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("csd-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        fs::write(folder.join("ca.pem"), certificate.pem()).expect("written");
        Self {
            folder,
            issuer: Issuer::new(params, key),
        }
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Certificate and key of somebody with these names.
    fn issue(&self, name: &str, hosts: &[&str]) -> (PathBuf, PathBuf) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let params = CertificateParams::new(hosts).expect("names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let files = ["pem", "key"].map(|end| self.folder.join(format!("{name}.{end}")));
        fs::write(&files[0], certificate.pem()).expect("written");
        fs::write(&files[1], key.serialize_pem()).expect("written");
        let [certificate, key] = files;
        (certificate, key)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // Left behind, it is only a temporary folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A level over TLS; `mutual`: callers must show a certificate of the CA.
async fn serve(authority: &Authority, hosts: &[&str], mutual: bool) -> u16 {
    let (certificate, key) = authority.issue("server", hosts);
    let ca = mutual.then(|| authority.ca());
    let tls = ServerTls::load(ca.as_deref(), Some(&certificate), Some(&key));
    let tls = tls.expect("good files").expect("not none");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let service = LevelService::new(Arc::new(scripted(1)), ServiceOptions::default());
        let never = std::future::pending();
        serve_over(Some(&tls), incoming(listener), service, SOON, never).await
    });
    port
}

async fn connect(url: &str, tls: Option<ClientTls>) -> Result<RemoteLevel, Error> {
    let options = RemoteOptions {
        tls,
        ..RemoteOptions::default()
    };
    RemoteLevel::connect(url, options).await
}

fn trusting(authority: &Authority) -> Option<ClientTls> {
    ClientTls::load(Some(&authority.ca()), None, None).expect("a good file")
}

/// Why nobody could be reached.
async fn refused(url: &str, tls: Option<ClientTls>) -> String {
    match connect(url, tls).await {
        Err(Error::Unavailable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_level_over_mutual_tls_is_the_same_level() {
    let authority = Authority::new("mutual");
    let port = serve(&authority, &["127.0.0.1", "localhost"], true).await;
    let (certificate, key) = authority.issue("client", &["orchestrator"]);
    let tls = ClientTls::load(Some(&authority.ca()), Some(&certificate), Some(&key));
    let tls = tls.expect("good files");
    for host in ["127.0.0.1", "localhost"] {
        let remote = connect(&format!("https://{host}:{port}"), tls.clone()).await;
        let answer = remote.expect("let in").verify(review(SOON)).await;
        assert_eq!(answer, scripted(1).verify(review(SOON)).await);
    }
}

#[tokio::test]
async fn a_caller_without_a_certificate_of_the_ca_is_not_let_in() {
    let authority = Authority::new("strict");
    let port = serve(&authority, &["127.0.0.1"], true).await;
    let url = format!("https://127.0.0.1:{port}");
    // The refusal comes when the connection stands already: what is heard of it depends on the moment.
    refused(&url, trusting(&authority)).await;
    let stranger = Authority::new("stranger");
    let (certificate, key) = stranger.issue("client", &["orchestrator"]);
    let tls = ClientTls::load(Some(&authority.ca()), Some(&certificate), Some(&key));
    refused(&url, tls.expect("good files")).await;
    refused(&format!("http://127.0.0.1:{port}"), None).await;
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_not_spoken_to() {
    let authority = Authority::new("server-side");
    let port = serve(&authority, &["localhost"], false).await;
    let other = Authority::new("other");
    let url = format!("https://localhost:{port}");
    connect(&url, trusting(&authority)).await.expect("trusted");
    let reason = refused(&url, trusting(&other)).await;
    assert!(reason.contains("invalid peer certificate"), "{reason}");
    let reason = refused(&format!("https://127.0.0.1:{port}"), trusting(&authority)).await;
    assert!(reason.contains("not valid for name"), "{reason}");
    match connect(&url, None).await {
        Err(Error::Invalid { field, reason }) => {
            assert_eq!(field, "address");
            assert!(reason.contains("tls.ca"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_that_are_wrong_are_named() {
    let authority = Authority::new("files");
    let (certificate, key) = authority.issue("one", &["a"]);
    let (_, another) = authority.issue("another", &["b"]);
    let (ca, absent) = (authority.ca(), authority.folder.join("absent.pem"));
    let junk = authority.folder.join("junk.pem");
    fs::write(&junk, "no certificate").expect("written");
    let load = |ca: Option<&PathBuf>, certificate: Option<&PathBuf>, key: Option<&PathBuf>| {
        let path = |path: Option<&PathBuf>| path.cloned();
        let (ca, certificate, key) = (path(ca), path(certificate), path(key));
        let loaded = ServerTls::load(ca.as_deref(), certificate.as_deref(), key.as_deref());
        match loaded {
            Ok(loaded) => format!("{loaded:?}"),
            Err(error @ (TlsError::Unreadable { .. } | TlsError::Wrong { .. })) => {
                let told = error.to_string();
                assert!(told.contains(".pem") || told.contains(".key"), "{told}");
                told
            }
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(load(None, None, None), "None");
    let good = load(Some(&ca), Some(&certificate), Some(&key));
    assert_eq!(good, "Some(ServerTls)", "the key stays out of it");
    for (told, field) in [
        (
            load(Some(&absent), Some(&certificate), Some(&key)),
            "tls.ca",
        ),
        (load(Some(&junk), Some(&certificate), Some(&key)), "tls.ca"),
        (load(Some(&ca), None, None), "tls.certificate"),
        (load(None, Some(&certificate), None), "tls.key"),
        (load(None, None, Some(&key)), "tls.certificate"),
        (load(None, Some(&junk), Some(&key)), "tls.certificate"),
        (load(None, Some(&certificate), Some(&junk)), "tls.key"),
        (load(None, Some(&certificate), Some(&another)), "tls.key"),
    ] {
        assert!(told.starts_with(field), "{told}");
    }
    let alone = ClientTls::load(None, Some(&certificate), Some(&key)).expect_err("no CA");
    assert!(alone.to_string().starts_with("tls.ca"), "{alone}");
}
