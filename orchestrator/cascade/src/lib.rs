//! The cascade: plan, recursion, statistics.
