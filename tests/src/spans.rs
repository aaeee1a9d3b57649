//! Spans as a collector got them, whichever collector it was.

use std::collections::BTreeMap;

use serde_json::Value;

/// Names to values.
pub type Attributes = BTreeMap<String, Value>;

/// A span that has ended.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// The `service.instance.id` of the process that sent it.
    pub process: String,
    /// Its trace, in hexadecimal.
    pub trace: String,
    /// Itself, in hexadecimal.
    pub id: String,
    /// The span under which it stands; empty for the first of a trace.
    pub parent: String,
    /// What it says it is.
    pub name: String,
    /// `CLIENT`, `SERVER` or `INTERNAL`.
    pub kind: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
    /// What is said of it.
    pub attributes: Attributes,
    /// What happened in it: names and attributes.
    pub events: Vec<(String, Attributes)>,
}

impl Span {
    /// Its length in microseconds.
    pub fn length(&self) -> f64 {
        self.end.saturating_sub(self.start) as f64 / 1e3
    }

    /// An attribute that is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.attributes.get(key)?.as_str()
    }

    /// An attribute that is a count.
    pub fn count(&self, key: &str) -> Option<u64> {
        self.attributes.get(key)?.as_u64()
    }
}
