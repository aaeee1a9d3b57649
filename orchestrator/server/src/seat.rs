//! One level of the cascade: its replicas, which of them is asked, and who takes over when it fails.
//!
//! A session asks the same replica as long as that answers. A call that fails there for reasons of its own moves on to
//! another replica, within its deadline: requests carry their whole meaning, so that repeating one is safe. What may take
//! over was decided when it was let in ([`Fit`]).

use std::{
    cmp::Reverse,
    sync::{Arc, PoisonError, RwLock},
};

use csd_level::{
    BoxFuture, Call, Description, Draft, DraftRequest, Error, Level, RememberRequest, Result,
    Verdict, VerifyRequest,
};
use csd_transport::{Address, RemoteLevel};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::{
    levels::Fit,
    replica::{Replica, told},
    whereabouts::Whereabouts,
};

/// A level by name; workers behind it or not.
pub struct Seat {
    whereabouts: Whereabouts,
    fit: Fit,
    replicas: RwLock<Vec<Arc<Replica>>>,
    /// What all replicas that have answered can do. While there was none, the target's word with this seat's own name.
    description: RwLock<Arc<Description>>,
}

impl Seat {
    /// A seat that waits for its workers. `first` is what one of them says of itself, if one is known.
    pub fn new(whereabouts: Whereabouts, first: Option<Arc<Description>>, fit: Fit) -> Self {
        let by_default = || Description {
            name: whereabouts.name.clone(),
            kind: whereabouts.kind,
            assisted: false,
            remembers: false,
            emulation: None,
            ..(*fit.target).clone()
        };
        Self {
            description: RwLock::new(first.unwrap_or_else(|| Arc::new(by_default()))),
            replicas: RwLock::default(),
            whereabouts,
            fit,
        }
    }

    /// Where it may be.
    pub fn whereabouts(&self) -> &Whereabouts {
        &self.whereabouts
    }

    /// Its name in the cascade.
    pub fn name(&self) -> &str {
        &self.whereabouts.name
    }

    /// The places of its workers.
    pub fn replicas(&self) -> Vec<Arc<Replica>> {
        let replicas = self.replicas.read();
        replicas.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether any of its workers can be used.
    pub fn is_up(&self) -> bool {
        self.replicas()
            .iter()
            .any(|replica| replica.trouble().is_none())
    }

    /// Why none of its workers can be used.
    pub fn trouble(&self) -> String {
        let troubles = self.replicas().into_iter().filter_map(|replica| {
            let (address, reason) = (replica.address().to_string(), replica.trouble()?);
            Some(match reason.contains(&address) {
                true => reason,
                false => format!("{address}: {reason}"),
            })
        });
        let troubles: Vec<_> = troubles.collect();
        match troubles.is_empty() {
            true => format!("nobody is at {}", self.whereabouts.written()),
            false => troubles.join("; "),
        }
    }

    /// Makes these the places of its workers. Those that are new are returned; those that are not among them any more
    /// are retired, and used only until another can be.
    pub(crate) fn place(&self, addresses: &[Address]) -> Vec<Arc<Replica>> {
        let mut replicas = self
            .replicas
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for replica in replicas.iter() {
            replica.retire(!addresses.contains(replica.address()));
        }
        let known = replicas.len();
        for address in addresses {
            if !replicas.iter().any(|replica| replica.address() == address) {
                replicas.push(Arc::new(Replica::new(address.clone())));
            }
        }
        replicas[known..].to_vec()
    }

    /// Forgets a retired replica once it is of no more use. Returns whether it is gone.
    pub(crate) fn forget(&self, replica: &Arc<Replica>) -> bool {
        let is_it = |other: &Arc<Replica>| Arc::ptr_eq(other, replica);
        let mut replicas = self
            .replicas
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let stays = |other: &&Arc<Replica>| !is_it(other) && !other.is_retired();
        let relieved = replicas
            .iter()
            .filter(stays)
            .any(|other| other.trouble().is_none());
        let useless = relieved || replica.trouble().is_some();
        // The last one stays: what is known of the level is known through it.
        if replica.is_retired() && useless && replicas.len() > 1 {
            replicas.retain(|other| !is_it(other));
        }
        !replicas.iter().any(is_it)
    }

    /// Lets a worker in, if it fits.
    ///
    /// # Errors
    /// Says why it does not.
    pub(crate) fn admit(&self, replica: &Replica, level: RemoteLevel) -> Result<(), String> {
        self.fits(&level.description())?;
        self.settle(replica, level);
        Ok(())
    }

    /// Whether a worker may be one of this level's.
    ///
    /// # Errors
    /// Says why not.
    pub(crate) fn fits(&self, found: &Description) -> Result<(), String> {
        self.fit.check(self.whereabouts.is_target, found)
    }

    /// Lets a worker in, whatever it is.
    pub(crate) fn settle(&self, replica: &Replica, level: RemoteLevel) {
        replica.raise(level);
        let replicas = self.replicas();
        let up = replicas.iter().filter_map(|replica| replica.level());
        if let Some(common) = common(up.map(|level| level.description())) {
            *self
                .description
                .write()
                .unwrap_or_else(PoisonError::into_inner) = common;
        }
    }

    /// Asks the replica of the call's session, and the others where that one fails.
    async fn ask<R: Ask>(&self, mut request: R) -> Result<R::Answer> {
        let Call {
            session, timeout, ..
        } = *request.call();
        let deadline = Instant::now() + timeout;
        let mut refused = None;
        let mut request = Some(request);
        let usable = self.usable(session);
        let alone = usable.len() == 1;
        let mut usable = usable.into_iter().peekable();
        while let Some((replica, level)) = usable.next() {
            // A long context is copied only where it may be needed again.
            let attempt = match usable.peek() {
                Some(_) => request.clone(),
                None => request.take(),
            };
            let Some(mut attempt) = attempt else { break };
            attempt.call().timeout = deadline.saturating_duration_since(Instant::now());
            let error = match attempt.send(&level).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if error.puts_aside(self.whereabouts.is_target, alone)
                && replica.fail(&level, told(&error))
            {
                tracing::warn!(level = self.name(), address = %replica.address(), %error, "a replica failed");
            }
            if !may_move(&error) {
                return Err(error);
            }
            // A full queue is what the caller should hear of: somebody is there, then.
            if !matches!(refused, Some(Error::Busy { .. })) {
                refused = Some(error);
            }
        }
        match refused {
            Some(Error::Unavailable(_)) | None => Err(Error::Unavailable(self.trouble())),
            Some(error) => Err(error),
        }
    }

    /// The workers that can be used, the session's own first.
    fn usable(&self, session: u64) -> Vec<(Arc<Replica>, Arc<RemoteLevel>)> {
        let mut replicas = self.replicas();
        replicas.sort_by_cached_key(|replica| Reverse(replica.weight(session)));
        let up = replicas.into_iter().filter_map(|replica| {
            let level = replica.level()?;
            Some((replica, level))
        });
        up.collect()
    }
}

/// Whether another replica may answer a call that failed like this. After a deadline there is no time left for it.
fn may_move(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable(_) | Error::Busy { .. } | Error::Internal(_)
    )
}

/// What every one of these can do, and whether any of them remembers; what else they say is the first one's word.
fn common(mut descriptions: impl Iterator<Item = Arc<Description>>) -> Option<Arc<Description>> {
    let first = descriptions.next()?;
    let least = |mut common: Description, other: Arc<Description>| {
        common.context = common.context.min(other.context);
        common.rows = common.rows.min(other.rows);
        common.assisted &= other.assisted;
        common.exact &= other.exact;
        common.remembers |= other.remembers;
        common
    };
    Some(Arc::new(descriptions.fold((*first).clone(), least)))
}

/// A request of either kind.
trait Ask: Clone + Send {
    type Answer;

    fn call(&mut self) -> &mut Call;

    fn send(self, level: &RemoteLevel) -> BoxFuture<'_, Result<Self::Answer>>;
}

impl Ask for DraftRequest {
    type Answer = Draft;

    fn call(&mut self) -> &mut Call {
        &mut self.call
    }

    fn send(self, level: &RemoteLevel) -> BoxFuture<'_, Result<Draft>> {
        level.draft(self)
    }
}

impl Ask for VerifyRequest {
    type Answer = Verdict;

    fn call(&mut self) -> &mut Call {
        &mut self.call
    }

    fn send(self, level: &RemoteLevel) -> BoxFuture<'_, Result<Verdict>> {
        level.verify(self)
    }
}

impl Level for Seat {
    fn description(&self) -> Arc<Description> {
        let description = self.description.read();
        description.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        Box::pin(self.ask(request))
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(self.ask(request))
    }

    /// Every replica is told, for the next text may be drafted at any of them.
    fn remember(&self, request: RememberRequest) -> BoxFuture<'_, Result<()>> {
        let replicas = self.replicas();
        let up = replicas.iter().filter_map(|replica| replica.level());
        let told: Vec<_> = up.filter(|level| level.description().remembers).collect();
        Box::pin(async move {
            let all = told.iter().map(|level| level.remember(request.clone()));
            join_all(all).await.into_iter().collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use csd_level::{Kind, scripted::ScriptedLevel};

    use super::*;

    fn seat() -> Seat {
        let whereabouts = Whereabouts {
            name: "target".into(),
            kind: Kind::Neural,
            addresses: Vec::new(),
            is_target: true,
            tls: None,
        };
        let fit = Fit {
            target: ScriptedLevel::new("target", 97, 11, 0, 0.0).description(),
            allow_other_numerics: false,
        };
        Seat::new(whereabouts, None, fit)
    }

    fn places(names: &[&str]) -> Vec<Address> {
        let parse = |name: &&str| Address::parse(name).expect("an address");
        names.iter().map(parse).collect()
    }

    #[test]
    fn places_come_and_go_and_the_last_stays() {
        let seat = seat();
        assert_eq!(seat.place(&places(&["a:1", "b:1"])).len(), 2);
        let known = seat.replicas();
        let added = seat.place(&places(&["b:1", "c:1"]));
        assert_eq!(added.len(), 1, "b is there already");
        assert!(known[0].is_retired() && !known[1].is_retired());
        assert!(!seat.forget(&known[1]), "b still belongs to the level");
        assert!(seat.forget(&known[0]), "a is down and belongs to nobody");
        assert_eq!(seat.replicas().len(), 2);
        seat.place(&places(&["a:1"]));
        assert!(seat.forget(&known[1]) && seat.forget(&added[0]));
        seat.place(&[]);
        let last = seat.replicas().remove(0);
        assert!(last.is_retired() && !seat.forget(&last));
    }

    #[test]
    fn a_session_prefers_the_same_replica_whoever_else_comes() {
        let (few, more) = (seat(), seat());
        few.place(&places(&["a:1", "b:1", "c:1"]));
        more.place(&places(&["d:1", "c:1", "b:1", "a:1"]));
        let favourite = |seat: &Seat, session| {
            let replicas = seat.replicas();
            let best = replicas
                .iter()
                .max_by_key(|replica| replica.weight(session));
            best.expect("some").address().to_string()
        };
        let mut moved = 0;
        for session in 0..1000 {
            let (before, after) = (favourite(&few, session), favourite(&more, session));
            assert!(
                before == after || after == "http://d:1",
                "{before} → {after}"
            );
            moved += usize::from(before != after);
        }
        assert!((150..350).contains(&moved), "a quarter moves: {moved}");
    }
}
