//! Makes the README's picture of a trace: a live cascade, a real collector, a real viewer in a real browser.

use anyhow::{Context as _, Result};
use clap::Parser;
use csd_tests::{
    Up,
    browser::Browser,
    collector::Collector,
    enlarged::enlarged,
    root,
    spans::Span,
    viewer::{HEADER, Viewer},
};
use serde_json::json;

/// Makes a picture of the trace of one request.
#[derive(Parser)]
struct Args {
    /// The cascade file.
    #[arg(long, default_value = "config/tiny-q8.toml")]
    cascade: String,
    /// Put the bundled target, enlarged to about 308 million parameters, in the target's place.
    #[arg(long)]
    enlarge: bool,
    /// Where the picture goes, from the workspace's root.
    #[arg(long, default_value = "services/telemetry/trace.png")]
    out: String,
}

const PROMPT: &str = "<|user|>\nThere are 32 eggs at the garden. Grace takes 7 eggs and Liam takes 5 eggs. How many eggs are left?\n<|assistant|>\n";

fn main() -> Result<()> {
    let args = Args::parse();
    let cascade = if args.enlarge {
        enlarged(&args.cascade)?
    } else {
        args.cascade.clone()
    };
    let viewer = Viewer::start()?;
    let collector = Collector::forwarding(&Collector::install()?, viewer.url(), HEADER)?;
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str())];
    let up = Up::start_with(&cascade, &environment)?;
    for _warm_then_shown in 0..2 {
        up.complete(&json!({"prompt": PROMPT, "max_tokens": 24, "temperature": 0, "seed": 7}))?;
    }
    drop(up);

    let spans = collector.settled()?;
    let requests = spans.iter().filter(|span| span.parent.is_empty());
    let shown = requests.max_by_key(|span| span.start).context("no trace")?;
    let trace = Trace(
        spans
            .iter()
            .filter(|span| span.trace == shown.trace)
            .collect(),
    );
    let round = trace.cascaded_round()?;

    let mut page = Browser::start(1500, 1090, false)?;
    viewer.open(&mut page, &shown.trace, trace.0.len())?;
    for span in trace.under(shown).filter(|span| span.id != round.id) {
        viewer.fold(&mut page, &span.id)?;
    }
    let turns = trace
        .under(round)
        .filter(|span| span.name.starts_with("draft "));
    for turn in turns.skip(1) {
        viewer.fold(&mut page, &turn.id)?;
    }
    let review = trace
        .under(round)
        .find(|span| span.name.starts_with("review "));
    let call = review.and_then(|review| trace.under(review).next());
    let call = call.context("a round without a review")?;
    viewer.select(&mut page, &call.id, "csd.network_us")?;
    page.save(&root().join(&args.out))
}

/// The spans of one request.
struct Trace<'a>(Vec<&'a Span>);

impl<'a> Trace<'a> {
    /// What stands under a span, in its order.
    fn under<'t>(&'t self, span: &'t Span) -> impl Iterator<Item = &'a Span> + 't {
        let mut under: Vec<_> = self
            .0
            .iter()
            .filter(|other| other.parent == span.id)
            .collect();
        under.sort_by_key(|span| span.start);
        under.into_iter().copied()
    }

    /// The first round in which a drafter reviews what others draft for it. Later ones leave less room for their names.
    fn cascaded_round(&self) -> Result<&'a Span> {
        let is_review = |span: &Span| span.name.starts_with("review ");
        let cascaded = |round: &&Span| {
            let mut turns = self.under(round);
            round.name == "round" && turns.any(|turn| self.under(turn).any(is_review))
        };
        let rounds = self.0.iter().copied().filter(cascaded);
        let first = rounds.min_by_key(|round| round.start);
        first.context("no drafter reviewed anything")
    }
}
