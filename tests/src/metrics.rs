//! What processes tell Prometheus, read as Prometheus reads it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use crate::{Client, Up};

/// The metrics of one process at one moment.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Everything, as it was answered.
    pub text: String,
    /// Each sample's value by its name and labels as written: `csd_level_up{level="draft"}`.
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    /// Scrapes a URL.
    ///
    /// # Errors
    /// When there is no answer, or one that Prometheus would not read.
    pub fn scrape(url: &str) -> Result<Self> {
        let (base, _) = url.split_once("/metrics").context("no /metrics")?;
        let (status, text) = Client::new(base).get("/metrics")?;
        ensure!(status == 200, "{url}: {status}");
        Self::parse(text)
    }

    fn parse(text: String) -> Result<Self> {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').context("no value")?;
            Ok((name.to_owned(), value.parse()?))
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(sample).collect::<Result<_>>()?;
        Ok(Self { text, samples })
    }

    /// The sum of a metric's samples that have all these labels, each as written: `level="draft"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let fits = |key: &str| {
            let (found, rest) = key.split_once('{').unwrap_or((key, ""));
            found == name && labels.iter().all(|label| rest.contains(label))
        };
        let samples = self.samples.iter().filter(|(key, _)| fits(key));
        samples.map(|(_, value)| value).sum()
    }

    /// Names and types, as they are declared.
    pub fn types(&self) -> BTreeMap<String, String> {
        let lines = self.text.lines();
        let declared = lines.filter_map(|line| line.strip_prefix("# TYPE "));
        declared
            .filter_map(|line| line.split_once(' '))
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
            .collect()
    }
}

impl Up {
    /// The orchestrator's metrics.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(&format!("{}/metrics", self.url))
    }

    /// A level's metrics.
    ///
    /// # Errors
    /// When there is no such level, or it does not answer.
    pub fn level_metrics(&self, level: &str) -> Result<Metrics> {
        Metrics::scrape(&self.level(level)?.metrics)
    }
}
