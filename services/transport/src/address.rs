//! Where a level is, and which workers a name stands for.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::{IpAddr, SocketAddr},
};

use csd_level::{Error, Result};
use tokio::net::lookup_host;
use tonic::transport::Uri;

/// The address of a level: `http://host:port`, or `https://host:port` for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    /// The name under which it was found: what the other side's certificate must say.
    name: Option<String>,
}

impl Address {
    /// Reads `http://host:port`, `https://host:port` or `host:port`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for `address`.
    pub fn parse(text: &str) -> Result<Self> {
        let complete = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let not_one = |reason: String| Error::invalid("address", format!("{text:?}: {reason}"));
        let uri: Uri = complete
            .parse()
            .map_err(|error| not_one(format!("{error}")))?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        if !known || uri.host().is_none_or(str::is_empty) {
            let reason = "must be http://host:port or https://host:port";
            return Err(not_one(reason.into()));
        }
        Ok(Self { uri, name: None })
    }

    /// Where to connect.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether it is to be spoken to over TLS.
    pub fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// The name of the host, as whoever wrote the address knows it.
    pub fn host(&self) -> &str {
        let own = self.uri.host().unwrap_or_default();
        self.name.as_deref().unwrap_or(own)
    }

    /// The workers that this address stands for now.
    ///
    /// A name with several addresses, like that of a headless service, stands for one worker each. One with a single
    /// address (or one of each family) stands for itself: connecting by name asks for its address anew every time.
    ///
    /// # Errors
    /// What the system's resolver says.
    pub async fn resolve(&self) -> io::Result<Vec<Self>> {
        let host = self.uri.host().unwrap_or_default();
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return Ok(vec![self.clone()]);
        }
        let usual = if self.is_secure() { 443 } else { 80 };
        let port = self.uri.port_u16().unwrap_or(usual);
        Ok(self.among(lookup_host((host, port)).await?))
    }

    fn among(&self, found: impl IntoIterator<Item = SocketAddr>) -> Vec<Self> {
        let (four, six): (BTreeSet<_>, BTreeSet<_>) =
            found.into_iter().partition(SocketAddr::is_ipv4);
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let at = |address: SocketAddr| {
            Some(Self {
                uri: format!("{scheme}://{address}").parse().ok()?,
                name: Some(self.host().to_owned()),
            })
        };
        let several = [four, six].into_iter().find(|family| family.len() > 1);
        several.map_or_else(
            || vec![self.clone()],
            |family| family.into_iter().filter_map(at).collect(),
        )
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let authority = self.uri.authority().map_or("", |place| place.as_str());
        write!(f, "{scheme}://{authority}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(text: &str, found: &[&str]) -> Vec<String> {
        let found = found.iter().map(|text| text.parse().expect("an address"));
        let address = Address::parse(text).expect("an address");
        let places = address.among(found);
        assert!(places.iter().all(|place| place.host() == address.host()));
        places.iter().map(Address::to_string).collect()
    }

    #[test]
    fn a_name_with_several_addresses_stands_for_as_many_workers() {
        let pods = ["10.0.0.2:50051", "10.0.0.1:50051", "10.0.0.2:50051"];
        assert_eq!(
            among("https://csd-target:50051", &pods),
            ["https://10.0.0.1:50051", "https://10.0.0.2:50051"]
        );
        let six = ["[fd00::1]:9", "[fd00::2]:9", "10.0.0.1:9"];
        assert_eq!(
            among("csd-target:9", &six),
            ["http://[fd00::1]:9", "http://[fd00::2]:9"]
        );
    }

    #[test]
    fn a_name_with_one_address_of_a_family_stands_for_itself() {
        for found in [&["127.0.0.1:9", "[::1]:9"][..], &["127.0.0.1:9"], &[]] {
            assert_eq!(among("http://localhost:9", found), ["http://localhost:9"]);
        }
    }

    #[tokio::test]
    async fn literal_addresses_are_asked_of_nobody() {
        for text in ["http://127.0.0.1:9", "http://[::1]:9"] {
            let address = Address::parse(text).expect("an address");
            let places = address.resolve().await.expect("nothing to ask");
            assert_eq!(places, [address]);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for text in ["", "not an address", "ftp://a:1", "http://", "unix:///x"] {
            let Err(Error::Invalid { field, .. }) = Address::parse(text) else {
                panic!("{text:?} passed");
            };
            assert_eq!(field, "address");
        }
    }
}
