//! Why a request failed, by what its caller can do about it.

use std::time::Duration;

use csd_level::Error;

/// A failed request. `http::failure` maps it to statuses and bodies, in one table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A value of the request is wrong: correct it.
    #[error("{param}: {reason}")]
    Invalid {
        /// The field at fault.
        param: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// The request has a field that this server does not know or support.
    #[error("{param}: {reason}")]
    Unsupported {
        /// The field.
        param: String,
        /// What can be done instead.
        reason: String,
    },
    /// The body cannot be read as what it should be.
    #[error("{0}")]
    Malformed(String),
    /// The prompt does not fit the context: shorten it.
    #[error(
        "the prompt has {len} tokens, the context of this model {limit}, one of which must be left for the answer"
    )]
    ContextLength {
        /// Tokens of the prompt.
        len: usize,
        /// Tokens that fit.
        limit: usize,
    },
    /// There is no such model.
    #[error("the model {asked:?} does not exist; this server offers {offered:?}")]
    UnknownModel {
        /// What was asked for.
        asked: String,
        /// What there is.
        offered: String,
    },
    /// There is no such path.
    #[error("there is nothing at {0}")]
    UnknownPath(String),
    /// The path exists, the method does not.
    #[error("{path} does not take {method}")]
    Method {
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
    /// The request needs one of this server's API keys.
    #[error("{}", match sent {
        true => "the API key is not one of this server's",
        false => "an API key is needed; send it as \"Authorization: Bearer KEY\"",
    })]
    Unauthorized {
        /// Whether it came with something that was to be a key.
        sent: bool,
    },
    /// The body is longer than allowed.
    #[error("the body is larger than the {limit} bytes allowed")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body must arrive within {} s", within.as_secs())]
    TooSlow {
        /// How long it may take.
        within: Duration,
    },
    /// The body is of another type.
    #[error("the content type {0:?} is not supported; send application/json")]
    MediaType(String),
    /// All places are taken: come back later.
    #[error("too many requests; try again in {} s", retry_after.as_secs().max(1))]
    Busy {
        /// A hint for when.
        retry_after: Duration,
    },
    /// A level that every answer needs cannot be used now.
    #[error("level {level:?} is unavailable: {reason}")]
    Unavailable {
        /// The level.
        level: String,
        /// Why.
        reason: String,
    },
    /// A fault of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

/// A result of this crate.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// The named field is wrong.
    pub fn invalid(param: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            param: param.into(),
            reason: reason.into(),
        }
    }

    /// What a failed call of a level means for the request.
    pub fn at_level(level: &str, error: Error) -> Self {
        match error {
            Error::Invalid { field, reason } => Self::invalid(field, reason),
            Error::ContextLength { len, limit } => Self::ContextLength { len, limit },
            Error::Busy { retry_after } => Self::Busy { retry_after },
            Error::Unavailable(reason) => Self::Unavailable {
                level: level.to_owned(),
                reason,
            },
            Error::DeadlineExceeded | Error::Cancelled => Self::Unavailable {
                level: level.to_owned(),
                reason: error.to_string(),
            },
            Error::Unsupported(_) | Error::Internal(_) => {
                Self::Internal(format!("level {level:?}: {error}"))
            }
        }
    }
}
