//! What is deployed fits together, as far as its text tells: metrics, addresses, cascade files. `tests/compose` runs it.

use std::{collections::BTreeSet, fs, path::Path};

use csd_tests::root;
use serde_json::Value;

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The metrics that a text asks for, histograms by their own name.
fn metrics(text: &str) -> BTreeSet<String> {
    let name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.split(|character| !name(character))
        .filter(|word| word.starts_with("csd_"))
        .map(|word| {
            let parts = ["_bucket", "_sum", "_count"];
            let whole = parts.iter().find_map(|part| word.strip_suffix(part));
            whole.unwrap_or(word).to_owned()
        })
        .collect()
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_of_the_list() {
    let list = read("config/prometheus/metrics.tsv");
    let listed: BTreeSet<String> = list
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('\t').next())
        .map(str::to_owned)
        .collect();
    let dashboard: Value =
        serde_json::from_str(&read("config/grafana/dashboards/cascade.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let mut asked: BTreeSet<String> = queries
        .flat_map(|query| metrics(query["expr"].as_str().expect("a query")))
        .collect();
    assert_eq!(asked, listed, "the dashboard shows the whole list");
    asked = metrics(&read("config/prometheus/alerts.yml"));
    asked.extend(metrics(&read(
        "config/kubernetes/components/autoscaling/autoscalers.yaml",
    )));
    assert!(asked.is_subset(&listed), "{:?}", asked.difference(&listed));
}

/// Each level of a cascade file with the host and port it is reached at, and where it listens.
fn levels(file: &str) -> Vec<(String, String, String)> {
    let cascade: toml::Table = toml::from_str(&read(file)).expect("TOML");
    let levels = cascade["level"].as_array().expect("levels");
    let field = |level: &toml::Value, name: &str| level[name].as_str().expect("a text").to_owned();
    let of = |level| {
        (
            field(level, "name"),
            field(level, "address"),
            field(level, "listen"),
        )
    };
    levels.iter().map(of).collect()
}

#[test]
fn every_level_is_found_where_it_listens() {
    let compose = read("docker-compose.yml");
    for file in ["cascade", "gpu"] {
        let file = format!("config/compose/{file}.toml");
        for (level, address, listen) in levels(&file) {
            let service = address
                .strip_prefix("http://")
                .and_then(|rest| rest.strip_suffix(":50051"));
            let service = service.unwrap_or_else(|| panic!("{file}: {address}"));
            assert_eq!(listen, "0.0.0.0:50051", "{file}: {level}");
            let (_, after) = compose
                .split_once(&format!("\n  {service}:\n"))
                .expect("a service of that name");
            let command = format!("command: [worker, --cascade, {file}, --level, {level}]");
            let shared = command.replace("gpu.toml", "cascade.toml");
            let found = after
                .lines()
                .find(|line| line.contains("command:"))
                .expect("a command")
                .trim();
            // The drafters of both cascades are the same services, told by the one file what the other repeats.
            assert!(
                found == command || (level != "target" && found == shared),
                "{service}: {found}"
            );
        }
    }
    for file in ["base", "overlays/gpu"] {
        let file = format!("config/kubernetes/{file}/cascade.toml");
        for (level, address, listen) in levels(&file) {
            assert_eq!(address, format!("http://csd-{level}:50051"), "{file}");
            assert_eq!(listen, "0.0.0.0:50051", "{file}: {level}");
            let names = read(format!(
                "config/kubernetes/base/levels/{level}/kustomization.yaml"
            ));
            assert!(
                names.contains(&format!("nameSuffix: -{level}\n")),
                "{level}"
            );
            assert!(
                names.contains(&format!("app.kubernetes.io/component: {level}\n")),
                "{level}"
            );
        }
    }
}

/// The arguments that have an orchestrator call the levels of a cascade file over TLS.
fn over_tls(file: &str) -> Vec<String> {
    let secure = |(level, address, _): (String, String, String)| {
        format!("--level={level}={}", address.replace("http://", "https://"))
    };
    levels(file).into_iter().map(secure).collect()
}

#[test]
fn over_tls_every_level_is_called_by_the_name_that_its_certificate_has() {
    let compose = read("config/compose/tls.yml");
    let script = read("config/compose/certificates.sh");
    let processes = script
        .lines()
        .find(|line| line.starts_with("for PROCESS in "))
        .expect("a loop over the processes");
    for file in ["cascade", "gpu"] {
        let file = format!("config/compose/{file}.toml");
        let (_, command) = compose
            .split_once(&format!("      - {file}\n"))
            .expect("an orchestrator");
        for (line, argument) in command.lines().zip(over_tls(&file)) {
            assert_eq!(line.trim(), format!("- {argument}"));
            let (_, service) = argument.split_once("https://").expect("an address");
            let service = service.strip_suffix(":50051").expect("a port");
            assert!(
                processes.contains(&format!(" {service}")),
                "{service} gets no certificate"
            );
            assert!(
                compose.contains(&format!("/{service}:/csd/tls:ro")),
                "{service} has no certificate"
            );
        }
    }
    let kubernetes = read("config/kubernetes/components/mutual-tls/kustomization.yaml");
    for argument in over_tls("config/kubernetes/base/cascade.toml") {
        assert!(
            kubernetes.contains(&format!("- {argument}\n")),
            "{argument}"
        );
    }
}

/// Where the workers of a cascade file are scraped.
fn metrics_ports(file: &str) -> BTreeSet<String> {
    let cascade: toml::Table = toml::from_str(&read(file)).expect("TOML");
    let levels = cascade["level"].as_array().expect("levels");
    let port = |level: &toml::Value| {
        let metrics = level["metrics"].as_str().expect("a text");
        let port = metrics.strip_prefix("0.0.0.0:");
        port.unwrap_or_else(|| panic!("{metrics}")).to_owned()
    };
    levels.iter().map(port).collect()
}

#[test]
fn every_level_is_scraped_where_it_answers() {
    let only = |port: &str| BTreeSet::from([port.to_owned()]);
    for file in ["cascade", "gpu"] {
        let ports = metrics_ports(&format!("config/compose/{file}.toml"));
        assert_eq!(ports, only("9464"), "{file}");
    }
    for file in ["base", "overlays/gpu"] {
        let ports = metrics_ports(&format!("config/kubernetes/{file}/cascade.toml"));
        assert_eq!(ports, only("9464"), "{file}");
    }
    for (file, text) in [
        ("prometheus/prometheus.yml", "port: 9464\n"),
        (
            "kubernetes/base/level/workload.yaml",
            "prometheus.io/port: \"9464\"\n",
        ),
        (
            "kubernetes/base/level/workload.yaml",
            "{name: metrics, containerPort: 9464}",
        ),
        ("kubernetes/base/network.yaml", "- {port: 9464}\n"),
        (
            "kubernetes/base/orchestrator.yaml",
            "prometheus.io/port: \"8080\"\n",
        ),
    ] {
        assert!(
            read(format!("config/{file}")).contains(text),
            "{file}: {text}"
        );
    }
}

#[test]
fn cascades_that_are_deployed_plan_as_the_bundled_one() {
    let plan =
        |file: &str| toml::from_str::<toml::Table>(&read(file)).expect("TOML")["plan"].clone();
    let bundled = plan("config/tiny.toml");
    for file in [
        "compose/cascade",
        "compose/gpu",
        "kubernetes/base/cascade",
        "kubernetes/overlays/gpu/cascade",
    ] {
        assert_eq!(plan(&format!("config/{file}.toml")), bundled, "{file}");
    }
}
