//! Spans as a collector got them, whichever collector it was.

use std::collections::BTreeMap;

use serde_json::{Value, json};

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

/// Reads the log of rotel, an OpenTelemetry collector, with `--debug-log traces --debug-log-verbosity detailed`: a
/// resource and its attributes, then its spans, each with its events, a line a field.
pub fn logged(log: &str) -> Vec<Span> {
    let (mut place, mut process, mut spans) = (Place::Resource, String::new(), Vec::new());
    for line in log.lines().map(str::trim) {
        match (line.split_once(" #"), spans.last_mut()) {
            (Some(("ResourceSpans", _)), _) => place = Place::Resource,
            (Some(("Span", _)), _) => {
                place = Place::Span;
                spans.push(Span {
                    process: process.clone(),
                    ..Span::default()
                });
            }
            (Some(("SpanEvent", _)), Some(span)) => {
                place = Place::Event;
                span.events.push(Default::default());
            }
            _ => {}
        }
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        match (place, spans.last_mut()) {
            (Place::Resource, _) if name == "-> service.instance.id" => {
                process = text(value).into();
            }
            (Place::Span, Some(span)) => span.field(name, value),
            (Place::Event, Some(span)) => match (name, span.events.last_mut()) {
                ("-> Name", Some(event)) => event.0 = value.into(),
                (name, Some(event)) => attribute(&mut event.1, name, value),
                _ => {}
            },
            _ => {}
        }
    }
    spans
}

/// What the lines of a log are about.
#[derive(Clone, Copy)]
enum Place {
    Resource,
    Span,
    Event,
}

impl Span {
    fn field(&mut self, name: &str, value: &str) {
        match name {
            "Trace ID" => self.trace = value.into(),
            "Parent ID" => self.parent = value.into(),
            "ID" => self.id = value.into(),
            "Name" => self.name = value.into(),
            "Kind" => self.kind = value.trim_start_matches("SPAN_KIND_").into(),
            "Start time" => self.start = value.parse().unwrap_or(0),
            "End time" => self.end = value.parse().unwrap_or(0),
            _ => attribute(&mut self.attributes, name, value),
        }
    }
}

fn attribute(attributes: &mut Attributes, name: &str, value: &str) {
    if let Some(name) = name.strip_prefix("-> ") {
        attributes.insert(name.into(), read(value));
    }
}

/// `Str(text)`.
fn text(value: &str) -> &str {
    value
        .strip_prefix("Str(")
        .and_then(|value| value.strip_suffix(')'))
        .unwrap_or(value)
}

/// `Int(3)`, `Double(0.5)`, `Bool(true)`, `Str(text)`.
fn read(value: &str) -> Value {
    let inside = |kind: &str| value.strip_prefix(kind)?.strip_suffix(')');
    let number = inside("Int(").and_then(|number| number.parse::<i64>().ok());
    let float = inside("Double(").and_then(|number| number.parse::<f64>().ok());
    let truth = inside("Bool(").and_then(|truth| truth.parse::<bool>().ok());
    let known = number.map(|number| json!(number));
    let known = known.or_else(|| float.map(|float| json!(float)));
    let known = known.or_else(|| truth.map(|truth| json!(truth)));
    known.unwrap_or_else(|| json!(text(value)))
}
