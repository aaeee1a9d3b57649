//! Errors to gRPC status and back. A round trip preserves the error.
//!
//! | error             | status              | detail                               |
//! |-------------------|---------------------|--------------------------------------|
//! | `Invalid`         | `INVALID_ARGUMENT`  | `BadRequest`: field and description  |
//! | `ContextLength`   | `OUT_OF_RANGE`      | `ErrorInfo`: `tokens` and `limit`    |
//! | `Busy`            | `RESOURCE_EXHAUSTED`| `RetryInfo`: when                    |
//! | `Unavailable`     | `UNAVAILABLE`       |                                      |
//! | `DeadlineExceeded`| `DEADLINE_EXCEEDED` |                                      |
//! | `Cancelled`       | `CANCELLED`         |                                      |
//! | `Unsupported`     | `UNIMPLEMENTED`     |                                      |
//! | `Internal`        | `INTERNAL`          |                                      |

use std::{error::Error as _, time::Duration};

use csd_level::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const DOMAIN: &str = "csd.v1";
const CONTEXT_LENGTH: &str = "CONTEXT_LENGTH";
const TOKENS: &str = "tokens";
const LIMIT: &str = "limit";

/// When to come back to a level that does not say.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The status code of an error.
pub fn code(error: &Error) -> Code {
    match error {
        Error::Invalid { .. } => Code::InvalidArgument,
        Error::ContextLength { .. } => Code::OutOfRange,
        Error::Busy { .. } => Code::ResourceExhausted,
        Error::Unavailable(_) => Code::Unavailable,
        Error::DeadlineExceeded => Code::DeadlineExceeded,
        Error::Cancelled => Code::Cancelled,
        Error::Unsupported(_) => Code::Unimplemented,
        Error::Internal(_) => Code::Internal,
    }
}

/// The name of a code that an error can have, as the specification writes it.
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::Unavailable => "UNAVAILABLE",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::Cancelled => "CANCELLED",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        _ => "UNKNOWN",
    }
}

/// What goes onto the wire.
pub fn to_status(error: &Error) -> Status {
    let mut details = ErrorDetails::new();
    let message = match error {
        Error::Invalid { field, reason } => {
            details.add_bad_request_violation(field, reason);
            error.to_string()
        }
        Error::ContextLength { len, limit } => {
            let numbers = [(TOKENS, len), (LIMIT, limit)];
            let metadata = numbers.map(|(name, number)| (name.to_owned(), number.to_string()));
            details.set_error_info(CONTEXT_LENGTH, DOMAIN, metadata);
            error.to_string()
        }
        Error::Busy { retry_after } => {
            details.set_retry_info(Some(*retry_after));
            error.to_string()
        }
        Error::DeadlineExceeded | Error::Cancelled => error.to_string(),
        // The message is all there is: it travels as it is, without the words around it.
        Error::Unavailable(message) | Error::Unsupported(message) | Error::Internal(message) => {
            return Status::new(code(error), message);
        }
    };
    Status::with_error_details(code(error), message, details)
}

/// What came from the wire, or from the connection breaking.
///
/// A status with a source was not sent by the other side: it describes what happened to the connection, under a code
/// that depends on the moment. The peer is unavailable then, whatever the code.
pub fn from_status(status: &Status) -> Error {
    let message = || status.message().to_owned();
    if let Some(source) = status.source() {
        return Error::Unavailable(causes(source));
    }
    match status.code() {
        Code::InvalidArgument => invalid(status),
        Code::OutOfRange => context_length(status).unwrap_or_else(|| invalid(status)),
        Code::ResourceExhausted => {
            let info = status.get_details_retry_info();
            Error::Busy {
                retry_after: info
                    .and_then(|info| info.retry_delay)
                    .unwrap_or(RETRY_AFTER),
            }
        }
        Code::Unavailable | Code::Unknown => Error::Unavailable(message()),
        Code::DeadlineExceeded => Error::DeadlineExceeded,
        Code::Cancelled => Error::Cancelled,
        Code::Unimplemented => Error::Unsupported(message()),
        Code::Internal => Error::Internal(message()),
        // No level answers these: something stands between.
        other => Error::Internal(format!("{}: {}", other.description(), status.message())),
    }
}

fn invalid(status: &Status) -> Error {
    let violation = status
        .get_details_bad_request()
        .and_then(|bad| bad.field_violations.into_iter().next());
    match violation {
        Some(violation) => Error::invalid(violation.field, violation.description),
        None => Error::invalid("request", status.message()),
    }
}

fn context_length(status: &Status) -> Option<Error> {
    let info = status.get_details_error_info()?;
    let number = |name| info.metadata.get(name)?.parse().ok();
    (info.domain == DOMAIN && info.reason == CONTEXT_LENGTH).then_some(())?;
    Some(Error::ContextLength {
        len: number(TOKENS)?,
        limit: number(LIMIT)?,
    })
}

/// An error and what caused it, outermost first.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_preserves_every_error() {
        let errors = [
            Error::invalid("draft[3].id", "7 is outside the vocabulary of 5"),
            Error::ContextLength {
                len: 5000,
                limit: 4096,
            },
            Error::Busy {
                retry_after: Duration::from_millis(37),
            },
            Error::Unavailable("shutting down".into()),
            Error::DeadlineExceeded,
            Error::Cancelled,
            Error::Unsupported("no Max-Gram in this process".into()),
            Error::Internal("a tensor is missing: ö".into()),
        ];
        for error in errors {
            // What a status is on the wire: a code, a message, bytes of details.
            let sent = to_status(&error);
            let details = sent.details().to_vec().into();
            let received = Status::with_details(sent.code(), sent.message(), details);
            assert_eq!(from_status(&received), error);
            assert_ne!(name(code(&error)), "UNKNOWN");
        }
    }

    #[test]
    fn foreign_statuses_without_details_are_understood() {
        let from = |code| from_status(&Status::new(code, "because"));
        assert_eq!(
            from(Code::InvalidArgument),
            Error::invalid("request", "because")
        );
        assert_eq!(from(Code::OutOfRange), Error::invalid("request", "because"));
        assert_eq!(
            from(Code::ResourceExhausted),
            Error::Busy {
                retry_after: RETRY_AFTER
            }
        );
        assert_eq!(from(Code::Unknown), Error::Unavailable("because".into()));
        assert!(matches!(from(Code::PermissionDenied), Error::Internal(_)));
        assert!(matches!(from(Code::Ok), Error::Internal(_)));
    }
}
