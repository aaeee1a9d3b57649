//! Logs, traces and their names.
