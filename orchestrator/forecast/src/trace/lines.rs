//! A recording as lines of JSON.

use serde::{Deserialize, Serialize};

use super::{Arm, Header, Kind, Text, Trace, VERSION};

/// Why a recording cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TraceError {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong, and with which field.
    pub reason: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Header(Header),
    Text(Text),
    Arm(Arm),
}

impl Trace {
    /// Reads a recording and checks that it is whole.
    ///
    /// # Errors
    /// [`TraceError`], with the line and the field.
    pub fn read(text: &str) -> Result<Self, TraceError> {
        let mut lines = (1..)
            .zip(text.lines())
            .filter(|(_, text)| !text.trim().is_empty());
        let header = match lines.next() {
            Some((line, text)) => match parse(line, text)? {
                Line::Header(header) => header,
                _ => return Err(wrong(line, "the header must come first")),
            },
            None => return Err(wrong(1, "the recording is empty")),
        };
        header.check()?;
        let (mut texts, mut arms) = (Vec::new(), Vec::new());
        let mut last = 1;
        for (line, text) in lines {
            last = line;
            match parse(line, text)? {
                Line::Header(_) => return Err(wrong(line, "a second header")),
                Line::Arm(arm) => arms.push(arm),
                Line::Text(text) => {
                    header
                        .check_text(&text)
                        .map_err(|reason| wrong(line, reason))?;
                    texts.push(text);
                }
            }
        }
        if texts.len() < 2 {
            return Err(wrong(
                last,
                "text: there must be at least two: one to tune on, one to score on",
            ));
        }
        Ok(Self {
            header,
            texts,
            arms,
        })
    }

    /// The recording as it is written.
    ///
    /// # Errors
    /// A number in it is none.
    pub fn write(self) -> Result<String, serde_json::Error> {
        let lines = std::iter::once(Line::Header(self.header))
            .chain(self.texts.into_iter().map(Line::Text))
            .chain(self.arms.into_iter().map(Line::Arm));
        let mut text = String::new();
        for line in lines {
            text += &serde_json::to_string(&line)?;
            text.push('\n');
        }
        Ok(text)
    }
}

impl Header {
    fn check(&self) -> Result<(), TraceError> {
        if self.version != VERSION {
            let reason = format!(
                "version: this csd reads {VERSION}, this is {}",
                self.version
            );
            return Err(wrong(1, reason));
        }
        let last = self.levels.len().wrapping_sub(1);
        for (index, level) in self.levels.iter().enumerate() {
            let field = |field: &str, reason: &str| {
                wrong(1, format!("levels: {:?}: {field}: {reason}", level.name))
            };
            let statistical = level.kind == Kind::Statistical;
            if statistical && (index == 0 || index != last) {
                return Err(field("kind", "Max-Gram must stand last, under a model"));
            }
            let rows = level.forward_ms.iter().map(|point| point.0);
            let costs = level
                .forward_ms
                .iter()
                .all(|&(_, ms)| ms.is_finite() && ms > 0.0);
            if !statistical
                && (level.forward_ms.is_empty() || !costs || !rows.is_sorted_by(|a, b| a < b))
            {
                return Err(field(
                    "forward_ms",
                    "must have a time above 0 for at least one number of rows, rows ascending",
                ));
            }
            let times = [level.queue_ms, level.round_trip_ms];
            if times.iter().any(|ms| !ms.is_finite() || *ms < 0.0) {
                return Err(field("queue_ms, round_trip_ms", "must be times"));
            }
        }
        match self.levels.is_empty() {
            true => Err(wrong(1, "levels: there is no target")),
            false => Ok(()),
        }
    }

    fn check_text(&self, text: &Text) -> Result<(), String> {
        if text.prompt.is_empty() || text.tokens.is_empty() {
            return Err("prompt, tokens: must not be empty".into());
        }
        let drafters = self.levels.iter().skip(1);
        for level in drafters.filter(|level| level.kind == Kind::Neural) {
            let choices = text.choices.get(&level.name);
            let choices = choices.ok_or_else(|| format!("choices: {:?} is missing", level.name))?;
            let lengths = [
                choices.ids.len(),
                choices.gaps.len(),
                choices.probabilities.len(),
            ];
            if lengths != [text.tokens.len(); 3] {
                return Err(format!(
                    "choices: {:?}: must have {} entries, has {lengths:?}",
                    level.name,
                    text.tokens.len()
                ));
            }
        }
        Ok(())
    }
}

fn parse(line: usize, text: &str) -> Result<Line, TraceError> {
    serde_json::from_str(text).map_err(|error| {
        let told = error.to_string();
        // It counts lines within this one.
        wrong(line, told.split(" at line ").next().unwrap_or(&told))
    })
}

fn wrong(line: usize, reason: impl Into<String>) -> TraceError {
    let reason = reason.into();
    TraceError { line, reason }
}
