//! Who may use the API: keys, and the pages of other origins.

use std::{fmt, sync::Arc};

use axum::http::{HeaderValue, Uri};
use constant_time_eq::constant_time_eq;

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
pub struct Keys(Arc<[Box<str>]>);

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
        let keys: Arc<[Box<str>]> = keys.map(key).collect::<Result<_, _>>()?;
        match keys.is_empty() {
            true => Err(AccessError::NoKey),
            false => Ok(Self(keys)),
        }
    }

    /// These keys and those.
    #[must_use]
    pub fn and(&self, more: &Self) -> Self {
        Self(self.0.iter().chain(&*more.0).cloned().collect())
    }

    /// Whether no key is asked for.
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the value of an `Authorization` header lets a request in.
    ///
    /// Every key is compared, each in a time that depends on its length alone: how long it takes says nothing of how much
    /// of a key was right.
    pub fn admit(&self, authorization: Option<&[u8]>) -> bool {
        const SCHEME: &[u8] = b"bearer ";
        if self.is_open() {
            return true;
        }
        let Some((scheme, given)) =
            authorization.and_then(|value| value.split_at_checked(SCHEME.len()))
        else {
            return false;
        };
        let is = |key: &str| constant_time_eq(key.as_bytes(), given.trim_ascii());
        let known = self.0.iter().fold(false, |known, key| is(key) | known);
        scheme.eq_ignore_ascii_case(SCHEME) && known
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
            assert_eq!(keys.admit(Some(header.as_bytes())), admitted, "{header}");
        }
        assert!(more.admit(Some(b"Bearer sk-three")) && more.admit(Some(b"Bearer sk-one")));
        assert!(!keys.admit(None) && Keys::default().admit(None));
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
