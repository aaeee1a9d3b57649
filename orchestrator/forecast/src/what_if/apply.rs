//! A cascade with a change.

use std::{sync::Arc, time::Duration};

use csd_cascade::world::Price;
use csd_level::{
    Token,
    noise::{Noise, Purpose},
};

use super::{WhatIf, WhatIfError, wrong};
use crate::{
    lineup::{Choice, Lineup, Member},
    trace::Kind,
};

/// Rows that cost no more than one at a level of which nothing else is said.
const ROWS: usize = 16;
/// The seed of what levels without a model write.
const SEED: u64 = 0x005E_ED0F;

impl WhatIf {
    /// The cascade with this change. `choices` are what `model` would write, by text and position, and `measured` is what
    /// a forward of it took here.
    ///
    /// # Errors
    /// [`WhatIfError`]: the change does not fit the cascade.
    pub fn apply(
        &self,
        lineup: &Lineup,
        choices: Option<Vec<Vec<Choice>>>,
        measured: Option<Duration>,
    ) -> Result<Lineup, WhatIfError> {
        let mut changed = lineup.clone();
        let at = lineup.position(&self.name);
        if self.out {
            let at = at.ok_or_else(|| self.unknown("out", &self.name, lineup))?;
            if at == 0 {
                return Err(wrong("out", "there is no cascade without its target"));
            }
            let gone = changed.members.remove(at);
            if gone.kind == Kind::Statistical {
                // Nobody has a Max-Gram then, not even in its own process.
                let members = changed.members.iter_mut();
                members.for_each(|member| member.assisted = false);
            }
            return Ok(changed);
        }
        let choices = match self.acceptance {
            Some(share) => Some(self.like(share, lineup, at)?),
            None => choices,
        };
        match at {
            Some(at) => self.change(&mut changed.members[at], at, choices)?,
            None => {
                let member = self.member(lineup, choices, measured)?;
                let place = self.place(lineup, &member)?;
                changed.members.insert(place, member);
            }
        }
        Ok(changed)
    }

    /// A recorded level, otherwise.
    fn change(
        &self,
        member: &mut Member,
        at: usize,
        choices: Option<Vec<Vec<Choice>>>,
    ) -> Result<(), WhatIfError> {
        if let Some(choices) = choices {
            if at == 0 {
                return Err(wrong("model", "another target would write other texts"));
            }
            if member.kind == Kind::Statistical {
                return Err(wrong("model", "Max-Gram has none"));
            }
            member.choices = Arc::new(choices);
        } else if self.under.is_some() {
            return Err(wrong(
                "under",
                format!("{:?} has its place already", self.name),
            ));
        }
        if let Some(cost) = self.cost {
            let first = member.price.forward.first().copied().unwrap_or_default();
            if first.is_zero() {
                return Err(wrong("cost", "Max-Gram has no forward"));
            }
            let times = cost.as_secs_f64() / first.as_secs_f64();
            for forward in &mut member.price.forward {
                *forward = forward.mul_f64(times);
            }
        }
        if let Some(rows) = self.rows {
            member.rows = rows;
            let one = member.price.forward.first().copied().unwrap_or_default();
            member.price.forward = vec![one; rows];
        }
        if let Some(round_trip) = self.round_trip {
            member.price.link = member.queue + round_trip;
            // Another way is to another place.
            member.host = self.name.clone();
        }
        if let Some(host) = &self.host {
            member.host.clone_from(host);
        }
        Ok(())
    }

    /// A new level.
    fn member(
        &self,
        lineup: &Lineup,
        choices: Option<Vec<Vec<Choice>>>,
        measured: Option<Duration>,
    ) -> Result<Member, WhatIfError> {
        let Some(choices) = choices else {
            let reason = format!(
                "{:?} is not in the recording: a new level needs a model, or an acceptance",
                self.name
            );
            return Err(wrong("model", reason));
        };
        let cost = self.cost.or(measured);
        let cost = cost.ok_or_else(|| {
            wrong(
                "cost",
                "a new level without a model needs one, e.g. cost=3ms",
            )
        })?;
        let rows = self.rows.unwrap_or(ROWS);
        // What is not said is as at the level that is most like it.
        let like = lineup
            .members
            .iter()
            .rfind(|member| member.kind == Kind::Neural);
        let queue = like.map_or(Duration::ZERO, |like| like.queue);
        let link = match (self.round_trip, like) {
            (Some(round_trip), _) => queue + round_trip,
            (None, Some(like)) => like.price.link,
            (None, None) => queue,
        };
        let host = match (&self.host, self.round_trip) {
            (Some(host), _) => host.clone(),
            (None, Some(_)) => self.name.clone(),
            (None, None) => lineup
                .members
                .first()
                .map_or_else(String::new, |target| target.host.clone()),
        };
        Ok(Member {
            name: self.name.clone(),
            kind: Kind::Neural,
            rows,
            assisted: like.is_some_and(|like| like.assisted),
            host,
            price: Price {
                forward: vec![cost; rows],
                link,
            },
            queue,
            choices: Arc::new(choices),
        })
    }

    /// Under the level that was named, else over the first drafter that is cheaper.
    fn place(&self, lineup: &Lineup, member: &Member) -> Result<usize, WhatIfError> {
        if let Some(above) = self.above(lineup)? {
            return Ok(above + 1);
        }
        let cheaper = |other: &Member| {
            other.kind == Kind::Statistical || other.price.of(1) < member.price.of(1)
        };
        let mut drafters = lineup.members.iter().skip(1);
        Ok(1 + drafters.position(cheaper).unwrap_or(lineup.drafters()))
    }

    /// The level that it is to stand under, if one is named.
    fn above(&self, lineup: &Lineup) -> Result<Option<usize>, WhatIfError> {
        let Some(under) = &self.under else {
            return Ok(None);
        };
        let at = lineup
            .position(under)
            .ok_or_else(|| self.unknown("under", under, lineup))?;
        match lineup.members[at].kind {
            Kind::Statistical => Err(wrong("under", "nobody drafts for Max-Gram")),
            Kind::Neural => Ok(Some(at)),
        }
    }

    /// What a level would write that agrees with the one above it so often, independently at every position.
    fn like(
        &self,
        share: f64,
        lineup: &Lineup,
        at: Option<usize>,
    ) -> Result<Vec<Vec<Choice>>, WhatIfError> {
        let above = self.above(lineup)?.unwrap_or(0);
        let number = at.unwrap_or(lineup.members.len()) as u8;
        let text = |(number_of_text, choices): (usize, &Vec<Choice>)| {
            let place = |(position, choice): (usize, &Choice)| {
                let noise =
                    Noise::new(SEED + number_of_text as u64, position, Purpose::Own(number));
                let id = match noise.uniform() < share {
                    true => choice.id,
                    false => lineup.nobodys(number_of_text, position),
                };
                Choice {
                    id,
                    gap: 0.0,
                    probability: share as f32,
                }
            };
            choices.iter().enumerate().map(place).collect()
        };
        Ok(lineup.members[above]
            .choices
            .iter()
            .enumerate()
            .map(text)
            .collect())
    }

    fn unknown(&self, field: &str, name: &str, lineup: &Lineup) -> WhatIfError {
        let names: Vec<&str> = lineup
            .members
            .iter()
            .map(|member| member.name.as_str())
            .collect();
        wrong(
            field,
            format!("no level is named {name:?}; there are {}", names.join(", ")),
        )
    }
}

impl Lineup {
    /// A token that no level would write there, and that ends no text.
    fn nobodys(&self, text: usize, position: usize) -> Token {
        let taken = |token: &Token| {
            let mut members = self.members.iter();
            members.any(|member| {
                let choice = member.choices.get(text).and_then(|text| text.get(position));
                choice.is_some_and(|choice| choice.id == *token)
            })
        };
        let ends = |token: &Token| self.header.end_tokens.contains(token);
        (0..)
            .find(|token| !taken(token) && !ends(token))
            .unwrap_or_default()
    }
}
