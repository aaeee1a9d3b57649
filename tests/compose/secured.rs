//! Two files more: mutual TLS between all processes, with certificates as the script makes them, and API keys.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use csd_tests::{
    containers::{Container, Stack},
    root,
};

use crate::{body, equal};

const FILES: &str = "docker-compose.yml:config/compose/tls.yml:config/compose/keys.yml";

/// One key in the environment, one in the file.
const KEYS: [&str; 2] = ["sk-of-the-environment", "sk-of-the-file"];

pub(crate) fn check(stack: &mut Stack) {
    let folder = Secrets::make();
    stack.set("COMPOSE_FILE", FILES);
    stack.set("CSD_CERTIFICATES", &folder.path("certificates"));
    stack.set("CSD_API_KEY", KEYS[0]);
    stack.set("CSD_API_KEY_FILE", &folder.path("keys"));
    stack.set("CSD_LOG", "debug");
    stack.up().expect("all are healthy over TLS");
    asked_for_keys(stack);
    asked_for_certificates(&stack.container("orchestrator").expect("it runs"));
}

/// Both keys open the API and nothing else does; no log tells one.
fn asked_for_keys(stack: &mut Stack) {
    for wrong in [None, Some("sk-of-nobody")] {
        stack.bring(wrong);
        let (status, answer) = stack
            .post("/v1/completions", &body().to_string())
            .expect("an answer");
        assert_eq!(status, 401, "{wrong:?}: {answer}");
    }
    for key in KEYS {
        stack.bring(Some(key));
        equal(stack, &format!("over TLS, with {key}"), |_| ());
    }
    let log = stack.container("orchestrator").and_then(|it| it.logs());
    let log = log.expect("a log");
    assert!(log.contains("DEBUG"), "it was to say all: {log}");
    assert!(!log.contains("sk-of"), "a key is in the log: {log}");
}

/// A level answers its caller with a certificate of the CA, and nobody without, be it on the levels' own network.
fn asked_for_certificates(orchestrator: &Container) {
    let health = |without: &[&str], address: &str| {
        let mut command = vec!["env"];
        command.extend(without.iter().flat_map(|name| ["-u", name]));
        command.extend(["csd", "health", "--addr", address]);
        orchestrator.exec(&command)
    };
    for level in ["target", "draft", "mini", "maxgram"] {
        let address = format!("https://{level}:50051");
        health(&[], &address).expect("it answers");
        let own = ["CSD_TLS_CERTIFICATE", "CSD_TLS_KEY"];
        let answer = health(&own, &address);
        assert!(
            answer.is_err(),
            "{level} lets in whoever has no certificate"
        );
        let answer = health(&[], &format!("http://{level}:50051"));
        assert!(answer.is_err(), "{level} answers in the open");
    }
}

/// A folder that only its owner enters, with certificates and keys; dropping it removes it.
struct Secrets(PathBuf);

impl Secrets {
    fn make() -> Self {
        let secrets = Self(root().join(format!("target/tmp/secrets-{}", std::process::id())));
        let Self(folder) = &secrets;
        fs::create_dir_all(folder).expect("a folder");
        let closed = fs::Permissions::from_mode(0o700);
        fs::set_permissions(folder, closed).expect("its owner's alone");
        fs::write(folder.join("keys"), format!("# of a test\n{}\n", KEYS[1])).expect("written");
        let script = root().join("config/compose/certificates.sh");
        let made = Command::new(script)
            .arg(folder.join("certificates"))
            .output();
        let made = made.expect("bash");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "certificates.sh: {said}");
        secrets
    }

    fn path(&self, name: &str) -> String {
        Path::new(&self.0).join(name).display().to_string()
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        // In a build folder; what is left there is of no more use.
        let _ = fs::remove_dir_all(&self.0);
    }
}
