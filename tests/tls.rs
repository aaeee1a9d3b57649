//! TLS between all processes: the text is the same, and nobody without a certificate is let in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use csd_tests::{Up, binary, ids, root, worker::changed};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

const CASCADE: &str = "config/tiny.toml";

/// A CA and a certificate of it for this machine, as PEM files: `ca.pem`, `csd.pem`, `csd.key`.
fn certificates() -> PathBuf {
    let folder = root().join(format!("target/tmp/tls-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let ca = authority.self_signed(&key).expect("signed");
    let issuer = Issuer::new(authority, key);
    let own = KeyPair::generate().expect("a key");
    let hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let params = CertificateParams::new(hosts).expect("names");
    let certificate = params.signed_by(&own, &issuer).expect("signed");
    let write = |name: &str, pem: String| fs::write(folder.join(name), pem).expect("written");
    write("ca.pem", ca.pem());
    write("csd.pem", certificate.pem());
    write("csd.key", own.serialize_pem());
    folder
}

fn text(up: &Up) -> Vec<u32> {
    let body: Value = json!({"prompt": "fn main() {", "max_tokens": 96, "temperature": 0.7, "seed": 3,
        "ignore_eos": true, "return_token_ids": true});
    ids(&up.complete(&body).expect("an answer")["choices"][0]["token_ids"])
}

/// Whether `csd health` says that it is well, and what else it says.
fn healthy(address: &str, arguments: &[(&str, &Path)]) -> (bool, String) {
    let mut command = Command::new(binary().expect("built"));
    command.args(["health", "--addr", address]);
    for (flag, file) in arguments {
        command.arg(flag).arg(file);
    }
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn the_text_over_mutual_tls_is_the_same() {
    let plain = text(&Up::start(CASCADE).expect("the cascade comes up"));
    let folder = certificates();
    let file = |name: &str| folder.join(name);
    let section = format!(
        "[tls]\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n\n[plan]",
        file("ca.pem"),
        file("csd.pem"),
        file("csd.key")
    );
    let cascade = changed(CASCADE, "tls", &[("[plan]", &section)]).expect("a cascade file");
    let up = Up::start(&cascade).expect("the cascade comes up over TLS");
    assert_eq!(text(&up), plain);
    let (ca, certificate, key) = (file("ca.pem"), file("csd.pem"), file("csd.key"));
    let whole = [
        ("--tls-ca", ca.as_path()),
        ("--tls-certificate", certificate.as_path()),
        ("--tls-key", key.as_path()),
    ];
    for level in up.levels() {
        let address = &level.address;
        assert!(address.starts_with("https://"), "{address}");
        let (well, said) = healthy(address, &whole);
        assert!(well, "{address}: {said}");
        let (well, _) = healthy(address, &whole[..1]);
        assert!(!well, "{address} lets in whoever has no certificate");
        let (well, said) = healthy(address, &[]);
        assert!(!well && said.contains("--tls-ca"), "{said}");
        let (well, _) = healthy(&address.replace("https", "http"), &[]);
        assert!(!well, "{address} answers in the open");
    }
    drop(up);
    // In a build folder; the next run makes its own.
    let _ = fs::remove_dir_all(folder);
}
