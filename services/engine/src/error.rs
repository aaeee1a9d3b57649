//! Why a model could not be loaded: which file, what in it, what was expected and what was found.

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
};

/// A result of loading.
pub type Result<T, E = LoadError> = std::result::Result<T, E>;

/// A model that cannot be served, and what to look at.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing or cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what its name says: cut short, damaged or hostile.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A field of a configuration or header has a value that cannot be.
    #[error("{}: {field}: {reason}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// Expected and found.
        reason: String,
    },
    /// A tensor that the configuration calls for is not there.
    #[error("{}: tensor {tensor} is missing", path.display())]
    MissingTensor {
        /// The file or folder.
        path: PathBuf,
        /// Its name there.
        tensor: String,
    },
    /// A tensor is there, but not as the configuration has it.
    #[error("{}: tensor {tensor}: expected {expected}, found {found}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Its name there.
        tensor: String,
        /// Shape, type or length.
        expected: String,
        /// The same, as it stands in the file.
        found: String,
    },
    /// A sound file of a sort that this engine does not serve.
    #[error("{}: {field}: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The field that says so.
        field: String,
        /// What it asks for, and what there is instead.
        reason: String,
    },
    /// A setting that does not fit the model or the machine.
    #[error("{setting}: {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl LoadError {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Read { path, source }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Write { path, source }
    }

    pub(crate) fn malformed(path: &Path, reason: impl Display) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn field(path: &Path, field: impl Into<String>, reason: impl Display) -> Self {
        Self::Field {
            path: path.to_owned(),
            field: field.into(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn unsupported(path: &Path, field: impl Into<String>, reason: impl Display) -> Self {
        Self::Unsupported {
            path: path.to_owned(),
            field: field.into(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn tensor(
        path: &Path,
        tensor: &str,
        expected: impl Display,
        found: impl Display,
    ) -> Self {
        Self::Tensor {
            path: path.to_owned(),
            tensor: tensor.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}
