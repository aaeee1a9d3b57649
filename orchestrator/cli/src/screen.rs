//! What `csd generate` shows: the text as it is written, then what the cascade did for it.

use std::{
    io::{IsTerminal, stderr, stdout},
    time::Duration,
};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    completion::{Completion, Piece},
    output,
    paint::Paint,
    report::Report,
    supervisor::Announcement,
};

/// The text on stdout, the rest on stderr.
#[derive(Debug)]
pub(crate) struct Screen {
    json: bool,
    /// The levels' names, target first.
    levels: Vec<String>,
    paint: Paint,
}

impl Screen {
    /// A screen for a text by these levels, target first, or for its JSON alone.
    pub(crate) fn new(json: bool, levels: Vec<String>) -> Self {
        Self {
            json,
            levels,
            paint: Paint::for_stream(&stdout()),
        }
    }

    /// Shows what the text continues, to people alone: what is piped on is the text and nothing else.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) fn prompt(&self, prompt: &str) -> Result<()> {
        if self.json || !self.paint.is_on() {
            return Ok(());
        }
        output::write(self.paint.dim(prompt).as_bytes())
    }

    /// Shows new pieces of the text.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) fn show(&mut self, pieces: &[Piece]) -> Result<()> {
        if self.json {
            return Ok(());
        }
        let painted = pieces.iter().map(|piece| match &piece.author {
            Some(author) => self.paint.level(author, &piece.text),
            None => piece.text.clone(),
        });
        let painted: String = painted.collect();
        output::write(painted.as_bytes())
    }

    /// Shows what is known once the text has ended.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) fn finish(&mut self, completion: &Completion, took: Duration) -> Result<()> {
        if self.json {
            return output::line(serde_json::to_string(completion)?);
        }
        output::write(b"\n")?;
        let seconds = took.as_secs_f64();
        let (tokens, speed) = (completion.token_ids.len(), completion.tokens_per_second);
        let mut summary = format!("{tokens} tokens in {seconds:.2} s: {speed:.1} tokens/s");
        let report = completion.report()?;
        let target = self.levels.first().map_or("target", String::as_str);
        if let Some(mean) = report
            .as_ref()
            .and_then(|report| report.tokens_per_call(target))
        {
            summary += &format!(", {mean:.2} tokens a call of the target");
        }
        if let Some(reason) = &completion.finish_reason {
            summary += &format!(" ({reason})");
        }
        let emulated = report.as_ref().map(Report::emulated);
        let tables = report.map(|report| report.tables(&self.levels));
        eprintln!(
            "{}\n{summary}\n{}\n{}",
            self.legend(),
            emulated.unwrap_or_default(),
            tables.unwrap_or_default()
        );
        Ok(())
    }

    /// Whose colour is which.
    fn legend(&mut self) -> String {
        if !self.paint.is_on() || !stderr().is_terminal() {
            return String::new();
        }
        let paint = &mut self.paint;
        let levels: Vec<_> = self
            .levels
            .iter()
            .map(|level| paint.level(level, level))
            .collect();
        format!("\nwritten by {}", levels.join(" "))
    }
}

/// The start of a cascade, on stderr, as long as it lasts and somebody watches.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// `levels` are to become ready.
    pub(crate) fn levels(levels: usize) -> Self {
        let bar = ProgressBar::new(levels as u64);
        if let Ok(style) = ProgressStyle::with_template(
            "{spinner} starting the cascade, {pos}/{len} levels ready {msg}",
        ) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// One of them is.
    pub(crate) fn ready(&self, worker: &Announcement) {
        self.0.inc(1);
        self.0.set_message(format!("({})", worker.level));
    }

    /// Leaves no trace.
    pub(crate) fn done(&self) {
        self.0.finish_and_clear();
    }
}
