//! The expected speed of a setting, by the paper's formulas.
//!
//! They price everything in forwards of the target that are all alike. Here the unit is its review of the whole draft,
//! which may cost more than a forward of one row: the speed is a factor over that.

use csd_cascade::ewif::{self, Drafter, Vertical};

use crate::{
    lineup::{Lineup, milliseconds},
    setting::Setting,
    trace::Kind,
};

/// What the formulas know of a lineup.
#[derive(Debug)]
pub struct Formula<'a> {
    lineup: &'a Lineup,
    /// Acceptance by reviewer and drafter, positions in the lineup.
    acceptance: Vec<Vec<f64>>,
    /// Acceptance of each level's own Max-Gram.
    assistance: Vec<f64>,
    /// Tokens of a text.
    length: f64,
}

impl<'a> Formula<'a> {
    /// Counts how often who agrees with whom.
    pub fn new(lineup: &'a Lineup) -> Self {
        let levels = 0..lineup.members.len();
        let row = |one| {
            levels
                .clone()
                .map(move |other| lineup.acceptance(one, other))
                .collect()
        };
        let tokens: usize = lineup.texts.iter().map(|text| text.tokens.len()).sum();
        Self {
            lineup,
            acceptance: levels.clone().map(row).collect(),
            assistance: levels
                .clone()
                .map(|level| lineup.assistance(level))
                .collect(),
            length: tokens as f64 / lineup.texts.len().max(1) as f64,
        }
    }

    /// The chance that a level accepts a token of another.
    pub fn acceptance(&self, reviewer: usize, drafter: usize) -> f64 {
        self.acceptance[reviewer][drafter]
    }

    /// Tokens a second. The first round of a text is the target's alone: models read the prompt beside it.
    pub fn speed(&self, setting: Setting) -> f64 {
        let text = milliseconds(self.lineup.header.text_ms).as_secs_f64();
        let first = 1.0 / self.within_rounds(Setting::Off);
        let others = (self.length - 1.0) / self.within_rounds(setting);
        self.length / (text + first + others)
    }

    /// The best of some settings, and its tokens a second.
    pub fn best(&self, settings: &[Setting]) -> (Setting, f64) {
        let speeds = settings
            .iter()
            .map(|&setting| (setting, self.speed(setting)));
        speeds
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap_or((Setting::Off, self.speed(Setting::Off)))
    }

    /// Tokens a second of a text that neither begins nor ends.
    fn within_rounds(&self, setting: Setting) -> f64 {
        match setting {
            Setting::Off => 1.0 / (self.forward(0, 1) + self.round()),
            Setting::Plain { drafter, length } => {
                let unit = self.forward(0, length + 1);
                let trips = self.round() + self.link(drafter);
                ewif::plain(self.drafter(0, drafter, 0, unit), length, trips / unit) / unit
            }
            Setting::Vertical {
                first,
                threshold,
                second,
                fed,
                assist,
            } => {
                let brings = ewif::tokens(self.acceptance[first][second], fed);
                let reviews = (threshold as f64 / brings).ceil().max(1.0);
                let drafted = (reviews * brings).round() as usize;
                let unit = self.forward(0, drafted.min(self.lineup.longest()) + 1);
                let near = !self.neural(second) && self.lineup.members[first].assisted;
                // With its own Max-Gram, the larger drafter writes in one call.
                let (trips, inner_trips) = match near {
                    true => (self.round() + self.link(first), 0.0),
                    false => (self.round(), self.link(first) + self.link(second)),
                };
                let vertical = Vertical {
                    first: Drafter {
                        acceptance: self.acceptance[0][first],
                        cost: self.forward(first, fed + 1) / unit,
                    },
                    second: self.drafter(first, second, assist, unit),
                    reviews: reviews as usize,
                    fed,
                    trips: trips / unit,
                    inner_trips: inner_trips / unit,
                };
                vertical.factor() / unit
            }
            Setting::Horizontal {
                first,
                early,
                second,
                late,
            } => {
                let unit = self.forward(0, early + late + 1);
                let mut positions = vec![self.drafter(0, first, 0, unit); early];
                positions.resize(early + late, self.drafter(0, second, 0, unit));
                let trips = self.round() + self.link(first) + self.link(second);
                ewif::horizontal(&positions, trips / unit) / unit
            }
        }
    }

    /// A drafter that writes token by token, or with so many tokens of its Max-Gram before each forward: then a token of it
    /// costs its part of that forward.
    fn drafter(&self, reviewer: usize, drafter: usize, assist: usize, unit: f64) -> Drafter {
        let brings = ewif::tokens(self.assistance[drafter], assist);
        Drafter {
            acceptance: self.acceptance[reviewer][drafter],
            cost: self.forward(drafter, assist + 1) / brings / unit,
        }
    }

    fn neural(&self, level: usize) -> bool {
        self.lineup.members[level].kind == Kind::Neural
    }

    /// Seconds of a forward.
    fn forward(&self, level: usize, rows: usize) -> f64 {
        self.lineup.members[level].price.of(rows).as_secs_f64()
    }

    /// Seconds of a call beside its forwards.
    fn link(&self, level: usize) -> f64 {
        self.lineup.members[level].price.link.as_secs_f64()
    }

    /// Seconds of a round beside its drafting and the target's forward.
    fn round(&self) -> f64 {
        self.link(0) + milliseconds(self.lineup.header.round_ms).as_secs_f64()
    }
}
