//! Who may use the API: keys, and the pages of other origins.

use std::{fmt, sync::Arc};

use axum::http::{HeaderValue, Uri};
use constant_time_eq::constant_time_eq;
use csd_level::Tenant;

use crate::tenant;

/// Why there is no saying who may use the API. No message repeats a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// A key that no header can carry.
    #[error("key {0} is no API key: one is a word of visible ASCII characters")]
    Key(usize),
    /// Keys were announced, and there are none: that would leave the door open.
    #[error("there is no API key in it; write one a line")]
    NoKey,
    /// An origin that no browser sends.
    #[error("{0:?} is no origin; write SCHEME://HOST[:PORT], or * for any")]
    Origin(String),
}

/// Who may use the API. By default everybody, but for pages of other origins in a browser.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The keys that requests are asked for.
    pub keys: Keys,
    /// The origins whose pages may use the API.
    pub origins: Origins,
}

/// API keys. Without any, every request is let in, whatever header it brings.
#[derive(Clone, Default)]
pub struct Keys(Arc<[(Box<str>, Tenant)]>);

/// The origins whose pages may use the API from a browser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// The server's own page alone.
    #[default]
    Own,
    /// These, too.
    Listed(Vec<HeaderValue>),
    /// All.
    Any,
}

impl Keys {
    /// Reads keys, one a line; blank lines and those that begin with `#` are left out.
    ///
    /// # Errors
    /// [`AccessError::Key`] with the number of the first line that is no key, and [`AccessError::NoKey`].
    pub fn parse(text: &str) -> Result<Self, AccessError> {
        let lines = (1..).zip(text.lines().map(str::trim));
        let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let key =
            |(number, key): (usize, &str)| match key.bytes().all(|byte| byte.is_ascii_graphic()) {
                true => Ok(Box::from(key)),
                false => Err(AccessError::Key(number)),
            };
        let keys = keys.map(key).collect::<Result<Vec<_>, _>>()?;
        match keys.is_empty() {
            true => Err(AccessError::NoKey),
            false => Ok(Self::of(keys)),
        }
    }

    fn of(keys: Vec<Box<str>>) -> Self {
        let tenants = tenant::of_each(&keys);
        Self(keys.into_iter().zip(tenants).collect())
    }

    /// These keys and those.
    #[must_use]
    pub fn and(&self, more: &Self) -> Self {
        let both = self.0.iter().chain(&*more.0);
        Self::of(both.map(|(key, _)| key.clone()).collect())
    }

    /// Whether no key is asked for.
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose request the value of an `Authorization` header lets in; nobody's, if it does not.
    ///
    /// Every key is compared, each in a time that depends on its length alone: how long it takes says nothing of how much
    /// of a key was right.
    pub fn admit(&self, authorization: Option<&[u8]>) -> Option<Tenant> {
        const SCHEME: &[u8] = b"bearer ";
        if self.is_open() {
            return Some(tenant::ANYBODY);
        }
        let (scheme, given) =
            authorization.and_then(|value| value.split_at_checked(SCHEME.len()))?;
        let is = |key: &str| constant_time_eq(key.as_bytes(), given.trim_ascii());
        let known = self.0.iter().fold(None, |known, (key, tenant)| {
            is(key).then_some(*tenant).or(known)
        });
        known.filter(|_| scheme.eq_ignore_ascii_case(SCHEME))
    }
}

/// Keys are never shown.
impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} keys", self.0.len())
    }
}

impl Origins {
    /// Reads origins as browsers send them; `*` is any.
    ///
    /// # Errors
    /// [`AccessError::Origin`].
    pub fn parse<'a>(origins: impl IntoIterator<Item = &'a str>) -> Result<Self, AccessError> {
        let mut listed = Vec::new();
        for origin in origins {
            if origin == "*" {
                return Ok(Self::Any);
            }
            let uri: Option<Uri> = origin.parse().ok();
            let whole = uri.is_some_and(|uri| {
                uri.scheme().is_some()
                    && uri.authority().is_some()
                    && uri.path() == "/"
                    && !origin.ends_with('/')
            });
            match HeaderValue::from_str(origin) {
                Ok(value) if whole => listed.push(value),
                _ => return Err(AccessError::Origin(origin.to_owned())),
            }
        }
        Ok(match listed.is_empty() {
            true => Self::Own,
            false => Self::Listed(listed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_keys_opens_and_nothing_else_does() {
        let keys = Keys::parse("# ours\nsk-one\n\n  sk-two \n").expect("keys");
        let more = keys.and(&Keys::parse("sk-three").expect("a key"));
        for (header, admitted) in [
            ("Bearer sk-one", true),
            ("bearer  sk-two ", true),
            ("Bearer sk-three", false),
            ("Bearer sk-on", false),
            ("Bearer sk-onee", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic sk-one", false),
            ("sk-one", false),
            ("Bearer # ours", false),
        ] {
            let tenant = keys.admit(Some(header.as_bytes()));
            assert_eq!(tenant.is_some(), admitted, "{header}");
        }
        let [one, three] = [b"Bearer sk-one".as_slice(), b"Bearer sk-three"].map(|header| {
            let tenant = more.admit(Some(header));
            tenant.expect("let in")
        });
        assert!(one != three && keys.admit(Some(b"Bearer sk-one")) != Some(one));
        assert!(keys.admit(None).is_none() && Keys::default().admit(None).is_some());
        assert_eq!(format!("{more:?}"), "3 keys");
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        assert_eq!(Keys::parse("# none\n\n").err(), Some(AccessError::NoKey));
        let error = Keys::parse("good\nmy secret\n").expect_err("two words");
        assert_eq!(error, AccessError::Key(2));
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn origins_are_what_browsers_send() {
        let listed = Origins::parse(["https://a.example", "http://localhost:3000"]);
        assert!(matches!(listed, Ok(Origins::Listed(listed)) if listed.len() == 2));
        assert_eq!(Origins::parse(["http://a", "*"]), Ok(Origins::Any));
        assert_eq!(Origins::parse([]), Ok(Origins::Own));
        for wrong in [
            "",
            "a.example",
            "https://a.example/",
            "https://a.example/x",
            "null",
            "http://",
        ] {
            assert_eq!(
                Origins::parse([wrong]),
                Err(AccessError::Origin(wrong.into()))
            );
        }
    }
}
