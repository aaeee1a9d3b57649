//! What the engine does for a call stands under the caller's span.

mod support;

use std::sync::{Arc, Mutex};

use csd_engine::Weights;
use csd_level::Level;
use tracing::{
    Instrument, Subscriber,
    field::{Field, Visit},
    info_span,
    span::{Attributes, Id},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

use support::{bundled, engine, request, wait};

/// Name, parent's name and fields of every span.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<(String, String, String)>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Record {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(String::new());
        attributes.record(&mut fields);
        let parent = context
            .span(id)
            .and_then(|span| Some(span.parent()?.name()));
        let name = attributes.metadata().name().to_owned();
        let entry = (name, parent.unwrap_or_default().to_owned(), fields.0);
        self.0.lock().expect("the record").push(entry);
    }
}

#[test]
fn queue_and_forward_are_children_of_the_call() {
    let record = Record::default();
    let subscriber = tracing_subscriber::registry().with(record.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let engine = engine(bundled("tiny/mini"), Weights::F32, 1);
    let call = |draft: &[u32]| engine.verify(request(1, &[5, 6, 7], draft));
    wait(call(&[8]).instrument(info_span!("call"))).unwrap();
    wait(call(&[8, 9]).instrument(info_span!("again"))).unwrap();
    let spans = record.0.lock().unwrap().clone();
    let names: Vec<_> = spans
        .iter()
        .map(|(name, parent, _)| (name.as_str(), parent.as_str()))
        .collect();
    let expected = [
        ("call", ""),
        ("queue", "call"),
        ("forward", "call"),
        ("again", ""),
        ("queue", "again"),
        ("forward", "again"),
    ];
    assert_eq!(names, expected);
    assert_eq!(
        spans[2].2,
        "csd.rows=4 csd.cached.positions=0 csd.sequences=1 "
    );
    assert_eq!(
        spans[5].2,
        "csd.rows=3 csd.cached.positions=2 csd.sequences=1 "
    );
}
