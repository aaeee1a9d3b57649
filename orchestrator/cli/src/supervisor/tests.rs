//! The supervisor over fake workers: shell scripts that announce what a worker would.

use std::{future::Future, path::Path, time::Instant};

use tokio::time::timeout;

use super::*;

const BOUND: Duration = Duration::from_secs(10);

/// A worker that announces the address it was given (or port 4711 for port 0), then runs `then`.
fn worker(level: &str, then: &str) -> Spec {
    let announce = r#"case "$1" in *:0) a=127.0.0.1:4711;; *) a=$1;; esac
        echo "{\"level\":\"$0\",\"pid\":$$,\"address\":\"http://$a\"}""#;
    script(level, &format!("{announce}\n{then}"))
}

/// `$0` is the level, `$1` the address.
fn script(level: &str, text: &str) -> Spec {
    let text = format!("shift\n{text}");
    Spec {
        level: level.into(),
        program: "/bin/sh".into(),
        arguments: ["-c", &text, level].map(Into::into).to_vec(),
    }
}

/// Waits for the end of stdin, as a worker does.
const UNTIL_STDIN_CLOSES: &str = "cat > /dev/null";

async fn bounded<T>(future: impl Future<Output = T>) -> T {
    timeout(BOUND, future).await.expect("in time")
}

async fn ready(supervisor: &mut Supervisor) -> Announcement {
    match bounded(supervisor.event()).await {
        Event::Ready(announcement) => announcement,
        lost @ Event::Lost { .. } => panic!("{lost:?}"),
    }
}

async fn lost(supervisor: &mut Supervisor) -> (String, Duration) {
    match bounded(supervisor.event()).await {
        Event::Lost { reason, retry, .. } => (reason, retry),
        ready @ Event::Ready(_) => panic!("{ready:?}"),
    }
}

/// Whether the process is there and is no zombie.
fn alive(pid: u32) -> bool {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
}

async fn kill(pid: u32, signal: &str) {
    let status = tokio::process::Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(bounded(status).await.expect("kill runs").success());
}

#[tokio::test]
async fn all_levels_start_and_end_in_order() {
    let mut supervisor = Supervisor::start(vec![
        worker("target", UNTIL_STDIN_CLOSES),
        worker("draft", UNTIL_STDIN_CLOSES),
    ]);
    let announced = [ready(&mut supervisor).await, ready(&mut supervisor).await];
    let mut levels = announced.clone().map(|worker| worker.level);
    levels.sort();
    assert_eq!(levels, ["draft", "target"]);
    assert!(announced.iter().all(|worker| alive(worker.pid)));

    let started = Instant::now();
    bounded(supervisor.stop(BOUND)).await;
    assert!(announced.iter().all(|worker| !alive(worker.pid)));
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "they ended by themselves"
    );
}

#[tokio::test]
async fn a_killed_level_comes_back_where_it_was() {
    let mut supervisor = Supervisor::start(vec![worker("draft", UNTIL_STDIN_CLOSES)]);
    let first = ready(&mut supervisor).await;
    assert_eq!(first.address, "http://127.0.0.1:4711");
    kill(first.pid, "-KILL").await;
    let (reason, _) = lost(&mut supervisor).await;
    assert_eq!(reason, "killed by signal 9");
    let second = ready(&mut supervisor).await;
    assert_eq!(second.address, first.address);
    assert_ne!(second.pid, first.pid);
    assert!(alive(second.pid));
    bounded(supervisor.stop(BOUND)).await;
}

#[tokio::test]
async fn a_level_that_cannot_start_says_why_and_is_tried_again_later_and_later() {
    let failing =
        "echo loading >&2; echo 'error: models/none: no config.json' >&2; echo bye >&2; exit 3";
    let mut supervisor = Supervisor::start(vec![script("target", failing)]);
    let (reason, first) = lost(&mut supervisor).await;
    assert_eq!(reason, "models/none: no config.json (exit code 3)");
    let (_, second) = lost(&mut supervisor).await;
    assert!(second > first);
    bounded(supervisor.stop(BOUND)).await;
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named() {
    let mut spec = worker("target", "");
    spec.program = "/does/not/exist".into();
    let mut supervisor = Supervisor::start(vec![spec]);
    let (reason, _) = lost(&mut supervisor).await;
    assert!(reason.contains("/does/not/exist"), "{reason}");
    bounded(supervisor.stop(BOUND)).await;
}

#[tokio::test]
async fn a_level_that_will_not_end_is_killed_after_the_grace() {
    let deaf = "trap '' TERM INT HUP; while :; do sleep 0.05; done";
    let mut supervisor = Supervisor::start(vec![worker("mini", deaf)]);
    let announced = ready(&mut supervisor).await;
    let started = Instant::now();
    bounded(supervisor.stop(Duration::from_millis(300))).await;
    assert!(!alive(announced.pid));
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_stopped_level_is_killed_too() {
    let mut supervisor = Supervisor::start(vec![worker("mini", UNTIL_STDIN_CLOSES)]);
    let announced = ready(&mut supervisor).await;
    kill(announced.pid, "-STOP").await;
    bounded(supervisor.stop(Duration::from_millis(300))).await;
    assert!(!alive(announced.pid));
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_level_that_is_still_loading() {
    let supervisor = Supervisor::start(vec![script("target", UNTIL_STDIN_CLOSES)]);
    let started = Instant::now();
    bounded(supervisor.stop(BOUND)).await;
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_talkative_level_never_blocks() {
    let chatter = "i=0; while [ $i -lt 20000 ]; do echo 'a line that nobody asked for'; i=$((i+1)); done; exit 4";
    let mut supervisor = Supervisor::start(vec![worker("draft", chatter)]);
    ready(&mut supervisor).await;
    let (reason, _) = lost(&mut supervisor).await;
    assert!(reason.ends_with("(exit code 4)"), "{reason}");
    bounded(supervisor.stop(BOUND)).await;
}

#[tokio::test]
async fn dropping_the_supervisor_kills_its_processes() {
    let mut supervisor = Supervisor::start(vec![worker("draft", UNTIL_STDIN_CLOSES)]);
    let announced = ready(&mut supervisor).await;
    drop(supervisor);
    let gone = async {
        while alive(announced.pid) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    bounded(gone).await;
}
