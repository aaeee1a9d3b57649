//! Which tenant a request belongs to, in a number that says nothing of its key.
//!
//! A level that remembers texts keeps tenants apart by that number, and a level may be anybody's: nobody may find a key by
//! trying which one has the number. So the number is a keyed hash (HMAC-SHA256) of the key, and its secret are all keys
//! together. No further secret needs to be handed out: orchestrators that let the same keys in agree on the numbers, and
//! share what a level remembers. With other keys all numbers are others, and what was remembered is not found any more.

use csd_level::Tenant;
use ring::hmac::{self, HMAC_SHA256};

/// The tenant of everybody, where no key is asked for.
pub(crate) const ANYBODY: Tenant = Tenant::new([0; 16]);

/// A tenant for each of the keys, in their order.
pub(crate) fn of_each(keys: &[Box<str>]) -> Vec<Tenant> {
    let mut all: Vec<&str> = keys.iter().map(|key| &**key).collect();
    all.sort_unstable();
    all.dedup();
    let secret = all.join("\n"); // no key has a line's end in it
    keys.iter()
        .map(|key| hashed(secret.as_bytes(), key))
        .collect()
}

/// A part of a tenant, which shares nothing with other parts.
pub(crate) fn part(tenant: Tenant, name: &str) -> Tenant {
    hashed(tenant.number(), name)
}

fn hashed(secret: &[u8], text: &str) -> Tenant {
    let hash = hmac::sign(&hmac::Key::new(HMAC_SHA256, secret), text.as_bytes());
    let mut number = [0; 16];
    for (byte, &hashed) in number.iter_mut().zip(hash.as_ref()) {
        *byte = hashed;
    }
    Tenant::new(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants(keys: &[&str]) -> Vec<Tenant> {
        let keys: Vec<_> = keys.iter().map(|&key| key.into()).collect();
        of_each(&keys)
    }

    #[test]
    fn whoever_lets_the_same_keys_in_agrees_on_the_tenants() {
        let (here, there) = (tenants(&["one", "two"]), tenants(&["two", "one", "two"]));
        assert_eq!([here[0], here[1], here[1]], [there[1], there[0], there[2]]);
    }

    #[test]
    fn whatever_is_not_the_same_has_a_number_of_its_own() {
        let few = tenants(&["one", "two"]);
        // One key more, and nobody can tell who was who.
        let mut all = [&few[..], &tenants(&["one", "two", "three"]), &[ANYBODY]].concat();
        all.extend(["", "a", "b"].map(|name| part(few[0], name)));
        all.extend([part(few[1], "a"), part(ANYBODY, "a"), part(ANYBODY, "one")]);
        for (place, tenant) in all.iter().enumerate() {
            assert!(!all[..place].contains(tenant), "{place}");
        }
    }
}
