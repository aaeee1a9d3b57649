//! What the program says without doing anything.

mod common;

use common::{csd, errors, finish, text};

#[test]
fn every_command_explains_itself_with_examples() {
    let whole = text(&finish(&mut csd(["--help"])));
    for command in [
        "up",
        "generate",
        "bench",
        "plan",
        "serve",
        "worker",
        "models",
        "health",
        "completions",
    ] {
        assert!(
            whole.contains(&format!("\n  {command} ")),
            "{command} is missing in\n{whole}"
        );
        let output = finish(&mut csd([command, "--help"]));
        assert!(output.status.success(), "{command}");
        let help = text(&output);
        assert!(help.contains("Usage: csd"), "{command}");
        assert!(help.contains("Examples:\n  csd "), "{command}:\n{help}");
    }
}

#[test]
fn the_version_is_the_package_s() {
    let version = text(&finish(&mut csd(["--version"])));
    assert_eq!(version, concat!("csd ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn shells_are_given_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let output = finish(&mut csd(["completions", shell]));
        assert!(
            output.status.success() && text(&output).contains("max-tokens"),
            "{shell}"
        );
    }
}

#[test]
fn mistakes_are_told_in_one_line() {
    let cases: [(&[&str], &str); 6] = [
        (
            &["up", "nothere.toml"],
            "cannot read the cascade file nothere.toml",
        ),
        (&["up", "--listen", "nowhere"], "cannot listen at nowhere"),
        (
            &["generate", "--url", "http://127.0.0.1:1", "x"],
            "nobody answers at http://127.0.0.1:1",
        ),
        (
            &["generate", "--url", "https://127.0.0.1:1", "x"],
            "only http://",
        ),
        (
            &["serve", "--level", "targte=http://127.0.0.1:1"],
            "no such level; it has target, draft, mini, maxgram",
        ),
        (
            &["serve", "--level", "target=http://127.0.0.1:1"],
            "level \"draft\" has no address",
        ),
    ];
    for (arguments, expected) in cases {
        let output = finish(csd([]).args(arguments));
        let told = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(
            told.starts_with("error: ") && told.contains(expected),
            "{told}"
        );
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn health_is_an_exit_code() {
    let output = finish(&mut csd(["health", "--addr", "127.0.0.1:1"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("nobody answers"),
        "{}",
        errors(&output)
    );
}
