//! The levels of a cascade file, wherever they run.
//!
//! A [`Seat`] stands for one level from the first moment on, whether its worker is there or not. The target must answer
//! before anything starts; drafters may come, go and come back.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use csd_config::Source;
use csd_level::{
    BoxFuture, Description, Draft, DraftRequest, Error, Kind, Level, Result, Verdict, VerifyRequest,
};
use csd_transport::{RemoteLevel, RemoteOptions};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use crate::SetupError;

/// Between two attempts to reach a level at start.
const RETRY: Duration = Duration::from_millis(100);

/// How long a single attempt may take.
const ATTEMPT: Duration = Duration::from_secs(1);

/// A level by name and address; a worker behind it or not.
pub struct Seat {
    name: String,
    address: String,
    kind: Kind,
    current: RwLock<Current>,
}

#[derive(Clone)]
enum Current {
    /// Nobody has answered yet. What a level says of itself is then the target's word, with this seat's own name.
    Vacant(Arc<Description>),
    Taken(RemoteLevel),
}

impl Seat {
    /// Its name in the cascade.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its worker is expected.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether nobody has ever answered here.
    pub fn is_vacant(&self) -> bool {
        matches!(self.current(), Current::Vacant(_))
    }

    /// Asks whoever is at the address now to be this level.
    ///
    /// # Errors
    /// Those of [`RemoteLevel::connect`].
    pub async fn meet(&self) -> Result<RemoteLevel> {
        let options = RemoteOptions {
            connect_timeout: ATTEMPT,
            ..RemoteOptions::default()
        };
        let level = RemoteLevel::connect(&self.address, options).await?;
        let found = level.description();
        if found.kind != self.kind {
            let reason = format!(
                "{} serves {:?}, a {:?} level; the cascade file says {:?}",
                self.address, found.name, found.kind, self.kind
            );
            return Err(Error::Unsupported(reason));
        }
        Ok(level)
    }

    /// Puts a worker into the seat.
    pub fn settle(&self, level: RemoteLevel) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current::Taken(level);
    }

    /// Asks the worker in the seat for a sign of life.
    ///
    /// # Errors
    /// Those of [`RemoteLevel::probe`].
    pub async fn probe(&self) -> Result<()> {
        self.taken()?.probe().await.map(drop)
    }

    fn taken(&self) -> Result<RemoteLevel> {
        match self.current() {
            Current::Taken(level) => Ok(level),
            Current::Vacant(_) => Err(Error::Unavailable(format!(
                "nobody has answered at {} yet",
                self.address
            ))),
        }
    }

    fn current(&self) -> Current {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

impl Level for Seat {
    fn description(&self) -> Arc<Description> {
        match self.current() {
            Current::Vacant(description) => description,
            Current::Taken(level) => level.description(),
        }
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        Box::pin(async move { self.taken()?.draft(request).await })
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async move { self.taken()?.verify(request).await })
    }
}

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
    let options = RemoteOptions {
        connect_timeout: ATTEMPT,
        ..RemoteOptions::default()
    };
    loop {
        match RemoteLevel::connect(address, options).await {
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
        let current = match (outcome, &target) {
            (Ok(level), _) if level.description().kind != kind => {
                return Err(SetupError::Kind {
                    level: name,
                    address,
                    found: level.description().kind,
                });
            }
            (Ok(level), _) => Current::Taken(level),
            (Err(error), None) => {
                return Err(SetupError::TargetMissing {
                    level: name,
                    address,
                    error,
                });
            }
            (Err(error), Some(target)) => {
                tracing::warn!(level = %name, %address, %error, "starting without a drafter");
                Current::Vacant(vacant(&name, kind, target))
            }
        };
        let seat = Seat {
            name,
            address,
            kind,
            current: RwLock::new(current),
        };
        target.get_or_insert_with(|| seat.description());
        seats.push(Arc::new(seat));
    }
    Ok(seats)
}

fn vacant(name: &str, kind: Kind, target: &Description) -> Arc<Description> {
    Arc::new(Description {
        name: name.to_owned(),
        kind,
        assisted: false,
        ..target.clone()
    })
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
