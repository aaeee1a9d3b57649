//! One level in one process.
