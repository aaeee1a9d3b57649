//! Why a level did not answer, by what the caller can do about it.

use std::time::Duration;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed call. Each edge (gRPC, HTTP) maps it in one table of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong: correct it; repeating it is useless.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field at fault.
        field: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// The context does not fit this level: use others, or a shorter one.
    #[error("context: {len} tokens do not fit the limit of {limit}")]
    ContextLength {
        /// Positions asked for.
        len: usize,
        /// Positions the level has.
        limit: usize,
    },
    /// The queue is full: come back later.
    #[error("the queue is full; try again in {} ms", retry_after.as_millis())]
    Busy {
        /// A hint for when.
        retry_after: Duration,
    },
    /// The level cannot be reached or is shutting down: another replica may answer.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// No answer in time.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// The caller went away.
    #[error("cancelled")]
    Cancelled,
    /// This level cannot do that at all.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// A fault of ours: report it.
    #[error("internal: {0}")]
    Internal(String),
}

impl Error {
    /// The named field of the request is wrong.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// Whether another attempt, elsewhere or later, could succeed.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Unavailable(_) | Self::DeadlineExceeded
        )
    }

    /// Whether a level that fails like this is put aside until it has been asked again. A full queue or a long context is
    /// nobody's fault, and what will not pass is no reason to do without a target. One that is `alone` and slow is all there
    /// is: without it every text would end.
    pub fn puts_aside(&self, target: bool, alone: bool) -> bool {
        match self {
            Self::Busy { .. } | Self::ContextLength { .. } | Self::Cancelled => false,
            Self::DeadlineExceeded if alone => !target,
            error => !target || error.is_transient(),
        }
    }
}
