//! Logs go to standard error alone, as the environment asks; standard output belongs to the program.

use std::process::{Command, Output};

use csd_telemetry::{Options, init};
use tracing::{debug, info};

const CHILD: &str = "CSD_TEST_CHILD";

/// What the child logs: the environment and the subscriber belong to a process.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let _guard = init("csd-test", &Options::from_env()).expect("telemetry");
    info!(target: "csd_test", answer = 42, "of csd");
    debug!(target: "csd_test", "detail of csd");
    info!(target: "hyper", "of a library");
}

fn run(environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, "1");
    for variable in [
        "CSD_LOG",
        "RUST_LOG",
        "CSD_LOG_FORMAT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ] {
        command.env_remove(variable);
    }
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .envs(environment.iter().copied())
        .output()
        .expect("a child");
    assert!(status.success());
    assert!(!String::from_utf8_lossy(&stdout).contains("of csd"));
    String::from_utf8(stderr).expect("text")
}

#[test]
fn by_default_csd_speaks_from_info_and_libraries_from_warn() {
    let log = run(&[]);
    assert!(
        log.contains("INFO") && log.contains("of csd") && log.contains("answer=42"),
        "{log}"
    );
    assert!(
        !log.contains("detail") && !log.contains("of a library"),
        "{log}"
    );
    assert!(!log.contains('\u{1b}'), "colour only on a terminal");
}

#[test]
fn the_environment_sets_filter_and_format() {
    let log = run(&[("CSD_LOG", "csd=debug"), ("CSD_LOG_FORMAT", "json")]);
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(
        lines[0].contains(r#""answer":42"#) && lines[0].contains(r#""level":"INFO""#),
        "{log}"
    );
    assert!(lines[1].contains(r#""message":"detail of csd""#), "{log}");
}
