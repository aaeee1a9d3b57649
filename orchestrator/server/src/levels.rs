//! Finds the levels of a cascade file, wherever they run.
//!
//! The target must answer before anything starts; drafters may come, go and come back. Of a level with several replicas one
//! is enough.

use std::{sync::Arc, time::Duration};

use csd_config::Source;
use csd_level::{Description, Error, Kind, Level as _, Result};
use csd_transport::{Address, ClientTls, RemoteLevel, TlsError};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{SetupError, replica::told, seat::Seat, whereabouts::Whereabouts};

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

/// How levels at `https://` are reached, by a cascade file; nothing where it names no files.
///
/// # Errors
/// [`TlsError`] naming the field and the file.
pub fn client_tls(files: &csd_config::Tls) -> Result<Option<ClientTls>, TlsError> {
    let csd_config::Tls {
        ca,
        certificate,
        key,
    } = files;
    ClientTls::load(ca.as_deref(), certificate.as_deref(), key.as_deref())
}

/// Finds the workers of all levels, at once. Drafters that do not answer leave their seat vacant.
///
/// # Errors
/// [`SetupError`] for a level without a usable address, and when the target does not answer.
pub async fn find(
    levels: &[csd_config::Level],
    tls: &csd_config::Tls,
    patience: Patience,
) -> Result<Vec<Arc<Seat>>, SetupError> {
    let tls = client_tls(tls)?;
    let levels_by_number = levels.iter().enumerate();
    let wanted: Result<Vec<_>, _> = levels_by_number
        .map(|(index, level)| whereabouts(index, level, tls.as_ref()))
        .collect();
    let begun = Instant::now();
    let searches = wanted?.into_iter().map(|whereabouts| {
        let patience = if whereabouts.is_target {
            patience.target
        } else {
            patience.drafters
        };
        search(whereabouts, begun + patience)
    });
    let allow_other_numerics = levels
        .first()
        .is_some_and(|target| target.allow_other_numerics);
    settle(join_all(searches).await, allow_other_numerics)
}

fn whereabouts(
    index: usize,
    level: &csd_config::Level,
    tls: Option<&ClientTls>,
) -> Result<Whereabouts, SetupError> {
    let name = || level.name.clone();
    let untrusted = |address: &Address| {
        let reason = format!("{address}: https:// needs tls.ca, whom to trust");
        (address.is_secure() && tls.is_none()).then(|| Error::invalid("address", reason))
    };
    let parse = |text: &String| {
        let address = Address::parse(text).and_then(|address| match untrusted(&address) {
            Some(error) => Err(error),
            None => Ok(address),
        });
        address.map_err(|error| SetupError::Address {
            level: name(),
            error,
        })
    };
    let addresses: Vec<_> = level
        .addresses
        .iter()
        .map(parse)
        .collect::<Result<_, _>>()?;
    if addresses.is_empty() {
        return Err(SetupError::NoAddress { level: name() });
    }
    Ok(Whereabouts {
        name: name(),
        kind: match level.source {
            Source::Neural { .. } => Kind::Neural,
            Source::MaxGram { .. } => Kind::Statistical,
        },
        addresses,
        is_target: index == 0,
        tls: tls.cloned(),
    })
}

/// Who answered where a level may be.
struct Search {
    whereabouts: Whereabouts,
    answers: Vec<(Address, Result<RemoteLevel>)>,
}

/// Asks everywhere at once until somebody answers, or nobody ever will.
async fn search(whereabouts: Whereabouts, deadline: Instant) -> Search {
    let mut answers = Vec::new();
    let mut last = String::new();
    let persist = async {
        loop {
            let places = whereabouts.resolve().await;
            let meet = places.into_iter().map(|address| async {
                let answer = whereabouts.meet(&address).await;
                (address, answer)
            });
            answers = join_all(meet).await;
            let waits =
                |(_, answer): &(_, Result<_>)| answer.as_ref().is_err_and(Error::is_transient);
            if !answers.iter().all(waits) {
                return;
            }
            let error = answers.iter().find_map(|(_, answer)| answer.as_ref().err());
            if let Some(reason) = error.map(told)
                && reason != last
            {
                tracing::info!(level = whereabouts.name, reason, "waiting for a level");
                last = reason;
            }
            sleep(RETRY).await;
        }
    };
    // Whoever has not answered by then may still come; it is known from the last time why it did not.
    let _ = timeout_at(deadline, persist).await;
    Search {
        whereabouts,
        answers,
    }
}

/// Seats whoever answered.
fn settle(searches: Vec<Search>, allow_other_numerics: bool) -> Result<Vec<Arc<Seat>>, SetupError> {
    let mut fit: Option<Fit> = None;
    let mut seats = Vec::with_capacity(searches.len());
    for search in searches {
        let first = search
            .answers
            .iter()
            .find_map(|(_, answer)| answer.as_ref().ok());
        let first = first.map(|level| level.description());
        if fit.is_none() {
            fit = first.clone().map(|target| Fit {
                target,
                allow_other_numerics,
            });
        }
        let Some(fit) = &fit else {
            return Err(missing(search));
        };
        seats.push(Arc::new(seat(search, first, fit)?));
    }
    Ok(seats)
}

fn seat(search: Search, first: Option<Arc<Description>>, fit: &Fit) -> Result<Seat, SetupError> {
    let places: Vec<_> = search
        .answers
        .iter()
        .map(|(place, _)| place.clone())
        .collect();
    let seat = Seat::new(search.whereabouts, first, fit.clone());
    for (replica, (address, answer)) in seat.place(&places).iter().zip(search.answers) {
        let reason = match answer {
            Err(Error::Unsupported(reason)) => {
                let level = seat.name().to_owned();
                return Err(SetupError::Kind { level, reason });
            }
            Err(error) => told(&error),
            Ok(level) if !seat.is_up() => {
                // The first to answer says what the level is; whether that fits is for the cascade to say.
                seat.settle(replica, level);
                continue;
            }
            Ok(level) => match seat.admit(replica, level) {
                Ok(()) => continue,
                Err(reason) => reason,
            },
        };
        tracing::warn!(level = seat.name(), %address, reason, "starting without a worker");
        replica.lower(reason);
    }
    Ok(seat)
}

/// Why there is no target.
fn missing(search: Search) -> SetupError {
    let mut answers = search.answers.into_iter();
    let error = answers.find_map(|(_, answer)| answer.err());
    let (level, address) = (
        search.whereabouts.name.clone(),
        search.whereabouts.written(),
    );
    match error {
        Some(Error::Unsupported(reason)) => SetupError::Kind { level, reason },
        error => SetupError::TargetMissing {
            level,
            error: error.unwrap_or_else(|| Error::Unavailable("nobody answers there".into())),
            address,
        },
    }
}

/// What a worker must be to take a seat.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The target as it was at start.
    pub target: Arc<Description>,
    /// Whether the target's replicas may compute other bits.
    pub allow_other_numerics: bool,
}

impl Fit {
    /// Whether this worker may take a seat: it must speak the same tokens, and a target must be the same model and compute
    /// the same bits, or the texts it is in the middle of would no longer be its own.
    ///
    /// # Errors
    /// Says what differs.
    pub fn check(&self, is_target: bool, found: &Description) -> Result<(), String> {
        let target = &*self.target;
        csd_cascade::Cascade::compatible(target, found).map_err(|mismatch| mismatch.to_string())?;
        if found.vocabulary != target.vocabulary {
            return Err(format!(
                "its vocabulary has {} tokens, the target's {}",
                found.vocabulary, target.vocabulary
            ));
        }
        if is_target && found.model != target.model {
            return Err(format!(
                "serves model {:?} instead of {:?}; restart the orchestrator to accept that",
                found.model, target.model
            ));
        }
        if is_target && found.numerics != target.numerics && !self.allow_other_numerics {
            return Err(format!(
                "computes other bits: numerics {:?} instead of {:?}; to accept that, write allow_other_numerics = true at the target or restart the orchestrator",
                found.numerics, target.numerics
            ));
        }
        Ok(())
    }
}
