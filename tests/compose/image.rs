//! The image without compose and its mounts: a whole cascade in one container, and levels as Kubernetes starts them.

use std::time::Duration;

use csd_tests::{
    containers::{Single, Stack},
    process, root,
};

use crate::equal;

/// For weights to be read.
const SOON: Duration = Duration::from_secs(30);

pub(crate) fn check(stack: &Stack) {
    let whole = Single::run(stack.image(), &[], &[]).expect("it starts");
    healthy(&whole, "http://127.0.0.1:8080");
    equal(&whole.client, "in one container", |_| ());
    drop(whole);
    // What the base of config/kubernetes mounts, and tells a pod.
    let cascade = root().join("config/kubernetes/base").display().to_string();
    let mount = format!("--volume={cascade}:/csd/config/kubernetes:ro");
    for level in ["target", "draft", "mini", "maxgram"] {
        let level = format!("--env=CSD_LEVEL={level}");
        let command = ["worker", "--cascade", "config/kubernetes/cascade.toml"];
        let pod = Single::run(stack.image(), &[&mount, &level], &command).expect("it starts");
        healthy(&pod, "http://127.0.0.1:50051");
    }
}

fn healthy(container: &Single, address: &str) {
    let asked = || container.exec(&["csd", "health", "--addr", address]);
    let healthy = process::wait(SOON, || asked().is_ok());
    assert!(
        healthy,
        "{address}: {}",
        container.logs().unwrap_or_default()
    );
}
