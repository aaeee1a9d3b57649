//! The arrows between the crates. Nothing imports upward, orchestrator and worker never import each other, and each
//! heavy dependency has one home. An arrow that is not drawn here does not exist.

use std::{collections::BTreeSet, fs, path::Path};

/// Every crate with its folder and all that it may import of ours.
const ARROWS: [(&str, &str, &[&str]); 15] = [
    ("csd-proto", "proto", &[]),
    ("csd-config", "config", &[]),
    ("csd-level", "services/level", &[]),
    ("csd-kernel", "services/kernel", &[]),
    ("csd-names", "services/names", &[]),
    ("csd-telemetry", "services/telemetry", &["csd-names"]),
    ("csd-maxgram", "services/maxgram", &["csd-level"]),
    (
        "csd-cascade",
        "orchestrator/cascade",
        &["csd-level", "csd-names"],
    ),
    (
        "csd-engine",
        "services/engine",
        &["csd-level", "csd-kernel", "csd-names"],
    ),
    (
        "csd-transport",
        "services/transport",
        &["csd-level", "csd-proto", "csd-telemetry"],
    ),
    (
        "csd-worker",
        "services/worker",
        &[
            "csd-config",
            "csd-engine",
            "csd-level",
            "csd-maxgram",
            "csd-telemetry",
            "csd-transport",
        ],
    ),
    (
        "csd-forecast",
        "orchestrator/forecast",
        &["csd-cascade", "csd-level", "csd-maxgram"],
    ),
    (
        "csd-orchestrator",
        "orchestrator/server",
        &[
            "csd-cascade",
            "csd-config",
            "csd-level",
            "csd-maxgram",
            "csd-proto",
            "csd-telemetry",
            "csd-transport",
        ],
    ),
    (
        "csd-cli",
        "orchestrator/cli",
        &[
            "csd-config",
            "csd-engine",
            "csd-forecast",
            "csd-level",
            "csd-maxgram",
            "csd-orchestrator",
            "csd-telemetry",
            "csd-transport",
            "csd-worker",
        ],
    ),
    ("csd-tests", "tests", &[]),
];

/// Dependencies that only these crates may name.
const HOMES: [(&str, &[&str]); 7] = [
    ("candle-core", &["csd-engine"]),
    ("axum", &["csd-orchestrator"]),
    (
        "tonic",
        &[
            "csd-proto",
            "csd-transport",
            "csd-orchestrator",
            "csd-cli",
            "csd-worker",
        ],
    ),
    ("prost", &["csd-proto"]),
    ("tokenizers", &["csd-orchestrator"]),
    ("opentelemetry", &["csd-telemetry"]),
    ("prometheus-client", &["csd-telemetry"]),
];

/// What the pure crates must do without.
const PURE: [&str; 6] = [
    "csd-level",
    "csd-maxgram",
    "csd-cascade",
    "csd-forecast",
    "csd-kernel",
    "csd-names",
];
const IMPURE: [&str; 5] = ["tokio", "tonic", "candle-core", "rand", "futures-util"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
}

/// The normal (not test or build) dependencies of a crate.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let path = root().join(folder).join("Cargo.toml");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let manifest: toml::Table = text
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    manifest
        .get("dependencies")
        .and_then(|d| d.as_table())
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn every_arrow_is_drawn() {
    for (name, folder, allowed) in ARROWS {
        for dependency in dependencies(folder)
            .iter()
            .filter(|dependency| dependency.starts_with("csd-"))
        {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} imports {dependency}, an arrow that nobody drew"
            );
        }
    }
}

#[test]
fn every_crate_is_listed() {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    let manifest: toml::Table = text.parse().expect("the workspace's manifest is TOML");
    let members = manifest["workspace"]["members"]
        .as_array()
        .expect("members");
    let members: BTreeSet<&str> = members
        .iter()
        .filter_map(|member| member.as_str())
        .collect();
    assert_eq!(members, ARROWS.map(|(_, folder, _)| folder).into());
}

#[test]
fn heavy_dependencies_have_one_home() {
    for (name, folder, _) in ARROWS {
        let dependencies = dependencies(folder);
        for (dependency, homes) in HOMES {
            assert!(
                !dependencies.contains(dependency) || homes.contains(&name),
                "{name} must not name {dependency}"
            );
        }
    }
}

#[test]
fn the_heart_is_pure() {
    for (name, folder, _) in ARROWS.iter().filter(|(name, ..)| PURE.contains(name)) {
        let dependencies = dependencies(folder);
        for dependency in IMPURE {
            assert!(
                !dependencies.contains(dependency),
                "{name} must do without {dependency}"
            );
        }
    }
}

#[test]
fn only_the_kernel_is_unsafe() {
    fn visit(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                visit(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a readable file");
                if text
                    .lines()
                    .any(|line| !line.trim_start().starts_with("//") && line.contains("unsafe {"))
                {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    let mut found = Vec::new();
    for (_, folder, _) in ARROWS
        .iter()
        .filter(|(name, ..)| !["csd-kernel", "csd-tests"].contains(name))
    {
        visit(&root().join(folder), &mut found);
    }
    assert!(found.is_empty(), "unsafe outside the kernel: {found:?}");
}
