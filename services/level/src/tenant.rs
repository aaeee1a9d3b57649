//! Whose a text is.

use std::fmt;

/// Whoever's texts may help each other: a level that remembers texts keeps those of different tenants apart.
///
/// The number means nothing else. But whoever names it to a level is helped by what that remembers, so it is kept out of
/// sight.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tenant([u8; 16]);

impl Tenant {
    /// The tenant of this number.
    pub const fn new(number: [u8; 16]) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Tenants are never shown.
impl fmt::Debug for Tenant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a tenant")
    }
}
