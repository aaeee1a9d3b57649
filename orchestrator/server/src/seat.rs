//! One level of the cascade, whether its worker is there or not.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use csd_level::{
    BoxFuture, Description, Draft, DraftRequest, Error, Kind, Level, Result, Verdict, VerifyRequest,
};
use csd_transport::{RemoteLevel, RemoteOptions};

/// How long a single attempt to reach a worker may take.
const ATTEMPT: Duration = Duration::from_secs(1);

/// Asks who is at an address, once.
///
/// # Errors
/// Those of [`RemoteLevel::connect`].
pub(crate) async fn reach(address: &str) -> Result<RemoteLevel> {
    let options = RemoteOptions {
        connect_timeout: ATTEMPT,
        ..RemoteOptions::default()
    };
    RemoteLevel::connect(address, options).await
}

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
    Taken(Arc<RemoteLevel>),
}

impl Seat {
    /// A seat whose worker is there.
    pub fn taken_by(name: String, address: String, level: RemoteLevel) -> Self {
        let kind = level.description().kind;
        Self::new(name, address, kind, Current::Taken(Arc::new(level)))
    }

    /// A seat that waits for its worker, under this target.
    pub fn vacant(name: String, address: String, kind: Kind, target: &Description) -> Self {
        let description = Description {
            name: name.clone(),
            kind,
            assisted: false,
            emulation: None,
            ..target.clone()
        };
        Self::new(name, address, kind, Current::Vacant(Arc::new(description)))
    }

    fn new(name: String, address: String, kind: Kind, current: Current) -> Self {
        Self {
            name,
            address,
            kind,
            current: RwLock::new(current),
        }
    }

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
        let level = reach(&self.address).await?;
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
        *self.current.write().unwrap_or_else(PoisonError::into_inner) =
            Current::Taken(Arc::new(level));
    }

    /// Asks the worker in the seat for a sign of life.
    ///
    /// # Errors
    /// Those of [`RemoteLevel::probe`].
    pub async fn probe(&self) -> Result<()> {
        self.taken()?.probe().await.map(drop)
    }

    fn taken(&self) -> Result<Arc<RemoteLevel>> {
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
