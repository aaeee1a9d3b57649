//! Texts that have ended, of many requests: what followed in one of them may follow again.
//!
//! Found again as zlib finds repetitions (Deutsch, RFC 1951, section 4): a table leads from the hash of a few tokens to the
//! place where they stood last, and every place to the one before it. A search looks at the newest places only, so it takes
//! the same time however much is remembered; a text takes twenty bytes a token, and the oldest one goes at once. A suffix
//! automaton, as [`crate::Index`] is one, and the trees of SuffixDecoding (arXiv 2411.04975) know all lengths and all
//! counts, but ours takes ten times the bytes, and cannot forget its beginning.
//!
//! The oldest text is the one that goes: what is still of use has been written again since, and is remembered from there.

use std::{collections::VecDeque, hash::Hasher as _};

use csd_level::Tenant;

use crate::{Token, hash::Mix, recall::Recall};

/// Tokens that are looked up: so many first, since in a large memory no search gets to all places where few tokens stood;
/// where those never stood, so few. No shorter repetition is found.
const ORDERS: [usize; 2] = [8, 2];

/// Places that a search looks at, of each order.
const LOOKS: usize = 64;

/// Bytes of a token in a text: itself, and a place before it of each order.
const TOKEN_BYTES: usize = size_of::<Token>() + ORDERS.len() * size_of::<Place>();

/// How much is remembered, and who may share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Bytes of all that is remembered, tables included.
    pub bytes: usize,
    /// Whether texts help all tenants, and not their own alone.
    pub across_tenants: bool,
}

/// What a memory holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Texts that it holds.
    pub texts: usize,
    /// Bytes that it takes, tables included.
    pub bytes: usize,
    /// Texts that have gone to make room.
    pub evicted: u64,
    /// Tokens proposed in calls that it might have helped.
    pub asked: u64,
    /// Of those, tokens that a remembered text proposed.
    pub found: u64,
}

/// Remembered texts within a limit.
#[derive(Debug)]
pub(crate) struct Memory {
    across_tenants: bool,
    /// The oldest first.
    texts: VecDeque<Text>,
    /// The number of the oldest text; the next one has the next number, from 1 on and around.
    oldest: u32,
    /// By order and hash, the newest place; a power of two of them in each order.
    newest: [Box<[Place]>; ORDERS.len()],
    /// Bytes that texts may take, and those that they take.
    room: usize,
    held: usize,
    evicted: u64,
    asked: u64,
    found: u64,
}

/// A text and, for each order and place in it that a search may find, the last place before with the same hash.
#[derive(Debug)]
struct Text {
    tenant: Tenant,
    tokens: Box<[Token]>,
    before: [Box<[Place]>; ORDERS.len()],
}

/// The end of some tokens that something follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// The number of the text; 0 is none's.
    text: u32,
    /// How many of its tokens stand before.
    end: u32,
}

impl Memory {
    /// A memory of nothing. All bytes but those of texts are taken at once: up to a fifth for each table, and a few for the
    /// list of texts, which are taken to have some tens of tokens each.
    pub(crate) fn new(sharing: Sharing) -> Self {
        let places = (sharing.bytes / size_of::<Place>() / 5).max(1);
        let places = 1 << places.ilog2();
        let mut memory = Self {
            across_tenants: sharing.across_tenants,
            texts: VecDeque::with_capacity(places / 16),
            oldest: 1,
            newest: ORDERS.map(|_| vec![Place::default(); places].into()),
            room: 0,
            held: 0,
            evicted: 0,
            asked: 0,
            found: 0,
        };
        memory.room = sharing.bytes.saturating_sub(memory.bytes());
        memory
    }

    /// Takes in a text; of one that is too long, its end. The oldest ones make room.
    pub(crate) fn remember(&mut self, tenant: Tenant, text: &[Token]) {
        let longest = (self.room / TOKEN_BYTES).min(u32::MAX as usize);
        let text = &text[text.len().saturating_sub(longest)..];
        if text.len() < 2 || self.texts.capacity() == 0 {
            return;
        }
        while self.texts.len() == self.texts.capacity()
            || self.held + text.len() * TOKEN_BYTES > self.room
        {
            self.forget();
        }
        let tenant = self.shelf(tenant);
        let number = self.oldest.wrapping_add(self.texts.len() as u32);
        let hash = Hash::of(tenant);
        let followed = &text[..text.len() - 1];
        let enter = |order: usize, newest: &mut [Place]| -> Box<[Place]> {
            let ends = followed.windows(order).zip(order as u32..);
            let enter = |(tokens, end)| {
                let newest = &mut newest[hash.slot(tokens, newest.len())];
                std::mem::replace(newest, Place { text: number, end })
            };
            ends.map(enter).collect()
        };
        let [long, short] = &mut self.newest;
        let text = Text {
            tenant,
            before: [enter(ORDERS[0], long), enter(ORDERS[1], short)],
            tokens: text.into(),
        };
        self.held += text.bytes();
        self.texts.push_back(text);
    }

    /// What followed in a tenant's texts where they ended like this one.
    pub(crate) fn recall(&self, tenant: Tenant, text: &[Token]) -> Recall<'_> {
        let tenant = self.shelf(tenant);
        let searches = (0..ORDERS.len()).map(|order| self.search(order, tenant, text));
        let found = searches.into_iter().find(|recall| !recall.is_empty());
        found.unwrap_or_default()
    }

    fn search(&self, order: usize, tenant: Tenant, text: &[Token]) -> Recall<'_> {
        let (tokens, newest) = (ORDERS[order], &self.newest[order]);
        let mut recall = Recall::default();
        let Some(start) = text.len().checked_sub(tokens) else {
            return recall;
        };
        let mut place = newest[Hash::of(tenant).slot(&text[start..], newest.len())];
        for _ in 0..LOOKS {
            // Where one text is gone, older ones are.
            let Some(found) = self.text(place.text) else {
                break;
            };
            let end = place.end as usize;
            // Places of other tenants may have the same hash.
            if found.tenant == tenant
                && let Some((before, after)) = found.tokens.split_at_checked(end)
            {
                recall.add(before, after, text, tokens);
            }
            let Some(&before) = found.before[order].get(end.wrapping_sub(tokens)) else {
                break;
            };
            place = before;
        }
        recall
    }

    /// Notes that so many tokens were proposed, so many of them from here.
    pub(crate) fn proposed(&mut self, tokens: usize, found: usize) {
        self.asked += tokens as u64;
        self.found += found as u64;
    }

    /// What it holds and has done.
    pub(crate) fn reading(&self) -> Remembered {
        Remembered {
            texts: self.texts.len(),
            bytes: self.bytes(),
            evicted: self.evicted,
            asked: self.asked,
            found: self.found,
        }
    }

    fn bytes(&self) -> usize {
        let tables = self.newest.iter().map(|newest| size_of_val(&**newest));
        tables.sum::<usize>() + self.texts.capacity() * size_of::<Text>() + self.held
    }

    /// Where a tenant's texts are kept.
    fn shelf(&self, tenant: Tenant) -> Tenant {
        const EVERYBODY: Tenant = Tenant::new([0; 16]);
        if self.across_tenants {
            EVERYBODY
        } else {
            tenant
        }
    }

    fn text(&self, number: u32) -> Option<&Text> {
        let place = number.wrapping_sub(self.oldest) as usize;
        self.texts.get(place).filter(|_| number > 0)
    }

    fn forget(&mut self) {
        if let Some(text) = self.texts.pop_front() {
            self.held -= text.bytes();
            self.oldest = self.oldest.wrapping_add(1);
            self.evicted += 1;
        }
    }
}

impl Text {
    fn bytes(&self) -> usize {
        let before = self.before.iter().map(|before| size_of_val(&**before));
        size_of_val(&*self.tokens) + before.sum::<usize>()
    }
}

/// Where to look tokens up, for one tenant.
struct Hash(Mix);

impl Hash {
    fn of(tenant: Tenant) -> Self {
        let mut mix = Mix::default();
        mix.write(tenant.number());
        Self(mix)
    }

    fn slot(&self, tokens: &[Token], slots: usize) -> usize {
        let mut mix = self.0.clone();
        for &token in tokens {
            mix.write_u32(token);
        }
        mix.finish() as usize & (slots - 1)
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
