//! A change to a cascade: a level more, a level less, or one on another host.

mod apply;

use std::{path::PathBuf, str::FromStr, time::Duration};

/// A change, as `NAME,key=value,…`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WhatIf {
    /// As it was written.
    pub text: String,
    /// The level: a recorded one, or a new one.
    pub name: String,
    /// Leave the level out.
    pub out: bool,
    /// The model that it is to serve.
    pub model: Option<PathBuf>,
    /// Without a model: the share of `under`'s tokens that it would write, too.
    pub acceptance: Option<f64>,
    /// The level that it stands under.
    pub under: Option<String>,
    /// A forward of one row.
    pub cost: Option<Duration>,
    /// Rows of a forward that cost no more than one.
    pub rows: Option<usize>,
    /// To it and back.
    pub round_trip: Option<Duration>,
    /// Where it computes.
    pub host: Option<String>,
}

/// What is wrong with a change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct WhatIfError {
    /// The key.
    pub field: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

fn wrong(field: &str, reason: impl Into<String>) -> WhatIfError {
    WhatIfError {
        field: field.to_owned(),
        reason: reason.into(),
    }
}

impl FromStr for WhatIf {
    type Err = WhatIfError;

    fn from_str(text: &str) -> Result<Self, WhatIfError> {
        let mut parts = text.split(',').map(str::trim);
        let name = parts.next().unwrap_or_default();
        if name.is_empty() || name.contains('=') {
            return Err(wrong(
                "NAME",
                format!("{text:?} must begin with a level's name: NAME,key=value,…"),
            ));
        }
        let mut asked = Self {
            text: text.to_owned(),
            name: name.to_owned(),
            ..Self::default()
        };
        for part in parts {
            asked.set(part)?;
        }
        let alone = Self {
            text: asked.text.clone(),
            name: asked.name.clone(),
            out: true,
            ..Self::default()
        };
        if asked.out && asked != alone {
            return Err(wrong("out", "a level that is left out has no other key"));
        }
        if asked.model.is_some() && asked.acceptance.is_some() {
            return Err(wrong(
                "acceptance",
                "it is measured where there is a model; give one of the two",
            ));
        }
        Ok(asked)
    }
}

impl WhatIf {
    fn set(&mut self, part: &str) -> Result<(), WhatIfError> {
        if part == "out" {
            self.out = true;
            return Ok(());
        }
        let (key, value) = part.split_once('=').ok_or_else(|| {
            wrong(part, "there is no such word; keys are out, and model=, acceptance=, under=, cost=, rows=, round_trip=, host=")
        })?;
        match key {
            "model" => self.model = Some(value.into()),
            "under" => self.under = Some(value.to_owned()),
            "host" => self.host = Some(value.to_owned()),
            "cost" => self.cost = Some(time(key, value)?),
            "round_trip" => self.round_trip = Some(time(key, value)?),
            "rows" => {
                let rows = value.parse().ok().filter(|rows| (1..=256).contains(rows));
                let refused = || wrong(key, format!("{value:?}: must be a number from 1 to 256"));
                self.rows = Some(rows.ok_or_else(refused)?);
            }
            "acceptance" => {
                let share = value
                    .parse()
                    .ok()
                    .filter(|share| (0.0..=1.0).contains(share));
                let refused = || wrong(key, format!("{value:?}: must be between 0 and 1"));
                self.acceptance = Some(share.ok_or_else(refused)?);
            }
            _ => {
                return Err(wrong(
                    key,
                    "there is no such key; there are out, model, acceptance, under, cost, rows, round_trip, host",
                ));
            }
        }
        Ok(())
    }
}

/// A time with its unit.
fn time(field: &str, text: &str) -> Result<Duration, WhatIfError> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let number = units.iter().find_map(|&(unit, seconds)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    });
    number.ok_or_else(|| {
        wrong(
            field,
            format!("{text:?}: must be a time with its unit, like 3ms, 250us or 1s"),
        )
    })
}
