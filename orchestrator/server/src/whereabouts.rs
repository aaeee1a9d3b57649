//! Where a level's workers may be, and who is found there.

use std::time::Duration;

use csd_level::{Error, Kind, Level as _, Result};
use csd_transport::{Address, ClientTls, RemoteLevel, RemoteOptions};
use futures_util::future::join_all;
use tokio::time::timeout;

/// How long a single attempt to reach a worker may take.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How long the system may take to look a name up.
const LOOKUP: Duration = Duration::from_secs(2);

/// Where a level may be, and what is said of it in the cascade file.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// Its name in the cascade.
    pub name: String,
    /// What sort of level must be there.
    pub kind: Kind,
    /// Where; a name may stand for several workers.
    pub addresses: Vec<Address>,
    /// Whether it is the target, which is never stepped over.
    pub is_target: bool,
    /// How `https://` addresses are reached.
    pub tls: Option<ClientTls>,
}

impl Whereabouts {
    /// Asks who is at an address, once.
    ///
    /// # Errors
    /// Those of [`RemoteLevel::reach`], and [`Error::Unsupported`] for a level of another kind.
    pub(crate) async fn meet(&self, address: &Address) -> Result<RemoteLevel> {
        let options = RemoteOptions {
            connect_timeout: ATTEMPT,
            tls: self.tls.clone(),
            ..RemoteOptions::default()
        };
        let level = RemoteLevel::reach(address, options).await?;
        let found = level.description();
        if found.kind != self.kind {
            let reason = format!(
                "{address} serves {:?}, a {:?} level; the cascade file says {:?}",
                found.name, found.kind, self.kind
            );
            return Err(Error::Unsupported(reason));
        }
        Ok(level)
    }

    /// Where its workers are now. A name that cannot be looked up stands for itself.
    pub(crate) async fn resolve(&self) -> Vec<Address> {
        let lookups = self.addresses.iter().map(|address| async move {
            match timeout(LOOKUP, address.resolve()).await {
                Ok(Ok(places)) => places,
                Ok(Err(_)) | Err(_) => vec![address.clone()],
            }
        });
        join_all(lookups).await.concat()
    }

    /// Its addresses as the file has them, for messages.
    pub fn written(&self) -> String {
        let addresses: Vec<_> = self.addresses.iter().map(Address::to_string).collect();
        addresses.join(", ")
    }
}
