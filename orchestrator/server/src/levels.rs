//! Finds the levels of a cascade file, wherever they run.
//!
//! The target must answer before anything starts; drafters may come, go and come back.

use std::{sync::Arc, time::Duration};

use csd_config::Source;
use csd_level::{Description, Error, Kind, Level as _, Result};
use csd_transport::RemoteLevel;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    SetupError,
    seat::{Seat, reach},
};

/// Between two attempts to reach a level at start.
const RETRY: Duration = Duration::from_millis(100);

/// How long to wait for workers at start.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the target, without which nothing starts.
    pub target: Duration,
    /// For each drafter; after that it is stepped over until it comes.
    pub drafters: Duration,
}

impl Default for Patience {
    /// A minute for the target, five seconds for drafters.
    fn default() -> Self {
        Self {
            target: Duration::from_secs(60),
            drafters: Duration::from_secs(5),
        }
    }
}

/// Finds the workers of all levels, at once. Drafters that do not answer leave their seat vacant.
///
/// # Errors
/// [`SetupError`] for a level without a usable address, and when the target does not answer.
pub async fn find(
    levels: &[csd_config::Level],
    patience: Patience,
) -> Result<Vec<Arc<Seat>>, SetupError> {
    let mut wanted = Vec::with_capacity(levels.len());
    for level in levels {
        let address = level.address.clone().ok_or_else(|| SetupError::NoAddress {
            level: level.name.clone(),
        })?;
        let kind = match level.source {
            Source::Neural { .. } => Kind::Neural,
            Source::MaxGram { .. } => Kind::Statistical,
        };
        wanted.push((level.name.clone(), address, kind));
    }
    let begun = Instant::now();
    let searches = wanted.into_iter().enumerate().map(|(index, wanted)| {
        let patience = if index == 0 {
            patience.target
        } else {
            patience.drafters
        };
        search(wanted, begun + patience)
    });
    let mut found = Vec::with_capacity(levels.len());
    for search in join_all(searches).await {
        found.push(search?);
    }
    settle(found)
}

/// A seat to be, and who answered there.
struct Search {
    name: String,
    address: String,
    kind: Kind,
    outcome: Result<RemoteLevel>,
}

async fn search(
    (name, address, kind): (String, String, Kind),
    deadline: Instant,
) -> Result<Search, SetupError> {
    let outcome = timeout_at(deadline, persist(&address)).await;
    let outcome =
        outcome.unwrap_or_else(|_| Err(Error::Unavailable(format!("nobody answers at {address}"))));
    if let Err(error @ Error::Invalid { .. }) = outcome {
        return Err(SetupError::Address { level: name, error });
    }
    Ok(Search {
        name,
        address,
        kind,
        outcome,
    })
}

/// Tries until somebody answers; only a wrong address ends it early.
async fn persist(address: &str) -> Result<RemoteLevel> {
    loop {
        match reach(address).await {
            Err(error) if error.is_transient() => sleep(RETRY).await,
            outcome => return outcome,
        }
    }
}

fn settle(searches: Vec<Search>) -> Result<Vec<Arc<Seat>>, SetupError> {
    let mut target: Option<Arc<Description>> = None;
    let mut seats = Vec::with_capacity(searches.len());
    for search in searches {
        let Search {
            name,
            address,
            kind,
            outcome,
        } = search;
        let seat = match (outcome, &target) {
            (Ok(level), _) if level.description().kind != kind => {
                return Err(SetupError::Kind {
                    level: name,
                    address,
                    found: level.description().kind,
                });
            }
            (Ok(level), _) => Seat::taken_by(name, address, level),
            (Err(error), None) => {
                return Err(SetupError::TargetMissing {
                    level: name,
                    address,
                    error,
                });
            }
            (Err(error), Some(target)) => {
                tracing::warn!(level = %name, %address, %error, "starting without a drafter");
                Seat::vacant(name, address, kind, target)
            }
        };
        target.get_or_insert_with(|| seat.description());
        seats.push(Arc::new(seat));
    }
    Ok(seats)
}

/// Whether a worker that has come back may take the seat again: it must speak the same tokens, and a target must
/// compute the same bits, or the texts it is in the middle of would no longer be its own.
///
/// # Errors
/// Says what differs.
pub fn fits(target: &Description, seat: usize, found: &Description) -> Result<(), String> {
    csd_cascade::Cascade::compatible(target, found).map_err(|mismatch| mismatch.to_string())?;
    if found.vocabulary != target.vocabulary {
        return Err(format!(
            "its vocabulary has {} tokens, the target's {}",
            found.vocabulary, target.vocabulary
        ));
    }
    let same = |what: &str, found: &str, expected: &str| {
        if found == expected {
            return Ok(());
        }
        Err(format!(
            "came back with {what} {found:?} instead of {expected:?}; restart the orchestrator to accept that"
        ))
    };
    if seat == 0 {
        same("model", &found.model, &target.model)?;
        same("numerics", &found.numerics, &target.numerics)?;
    }
    Ok(())
}
