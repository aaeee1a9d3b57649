//! Sequences that are remembered between calls, and what is found again of them.
//!
//! A slot holds the keys and values of one sequence and the tokens that they belong to. A call takes its session's own
//! slot, cut back to what the tokens have in common, or a fork of the slot that shares the longest prefix; nobody else's
//! slot is ever cut. What has not been used for longest makes room.

use csd_level::Token;

use crate::decoder::backend::Sequence;

/// Slots that are kept at most, however small they are: each call compares its tokens with every one of them.
const MOST_SLOTS: usize = 256;

/// The remembered sequences of one model.
pub(crate) struct Slots<C> {
    slots: Vec<Option<Slot<C>>>,
    limit: usize,
    clock: u64,
}

struct Slot<C> {
    cache: C,
    /// What has been computed so far: position p holds the keys and values of `tokens[p]`.
    tokens: Vec<Token>,
    session: u64,
    used: u64,
    busy: bool,
}

/// A slot taken for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) slot: usize,
    /// Positions that need not be computed again.
    pub(crate) reused: usize,
}

impl<C: Sequence> Slots<C> {
    /// Slots that hold at most `limit` bytes together. Shared pages count in each sequence that has them.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            limit,
            clock: 0,
        }
    }

    /// Takes a slot for a session whose call needs the positions of `context` and then `len` in all. At least the last
    /// token of the context is computed anew, since its logits are wanted.
    ///
    /// `None` when busy slots leave no room: there will be some when they are released.
    pub(crate) fn claim(
        &mut self,
        session: u64,
        context: &[Token],
        len: usize,
        empty: impl FnOnce() -> C,
    ) -> Option<Claim> {
        let most = context.len().saturating_sub(1);
        let own = self.longest(context, most, |slot| slot.session == session && !slot.busy);
        let found = match own {
            Some(own) if own.reused == most => Some(own),
            own => {
                let other = self.longest(context, most, |_| true);
                other
                    .filter(|o| o.reused > own.map_or(0, |own| own.reused))
                    .or(own)
            }
        };
        let fork = found.filter(|found| Some(found.slot) != own.map(|own| own.slot));
        let mut cache = match (fork, own) {
            (Some(fork), _) if fork.reused > 0 => self.slots[fork.slot]
                .as_ref()
                .map_or_else(empty, |slot| slot.cache.fork(fork.reused)),
            (_, Some(own)) => {
                let taken = self.slots[own.slot].take();
                taken.map_or_else(empty, |slot| slot.cache)
            }
            _ => empty(),
        };
        let reused = found.map_or(0, |found| found.reused);
        if let Some(own) = own {
            self.slots[own.slot] = None;
        }
        let needed = cache.bytes_for(len).max(cache.bytes());
        if !self.make_room(needed) {
            self.keep(session, context[..reused].to_vec(), cache, false);
            return None;
        }
        cache.reserve(len);
        let slot = self.keep(session, context[..reused].to_vec(), cache, true);
        Some(Claim { slot, reused })
    }

    /// The caches of some slots, given in ascending order.
    pub(crate) fn caches(&mut self, slots: &[usize]) -> Vec<&mut C> {
        let all = self.slots.iter_mut().enumerate();
        all.filter(|(index, _)| slots.binary_search(index).is_ok())
            .filter_map(|(_, slot)| slot.as_mut().map(|slot| &mut slot.cache))
            .collect()
    }

    /// Notes that the next positions of a slot have been computed for these tokens.
    pub(crate) fn extend(&mut self, slot: usize, tokens: impl IntoIterator<Item = Token>) {
        if let Some(slot) = &mut self.slots[slot] {
            slot.tokens.extend(tokens);
        }
    }

    /// Ends a call; what has been computed stays for later ones.
    pub(crate) fn release(&mut self, slot: usize) {
        self.clock += 1;
        if let Some(slot) = &mut self.slots[slot] {
            slot.busy = false;
            slot.used = self.clock;
        }
    }

    /// Bytes held, and how many of them calls in progress hold.
    pub(crate) fn usage(&self) -> (usize, usize) {
        let slots = self.slots.iter().flatten();
        slots.fold((0, 0), |(held, busy), slot| {
            let bytes = slot.cache.bytes();
            (held + bytes, busy + if slot.busy { bytes } else { 0 })
        })
    }

    /// The slot, of those that fit, whose tokens share the longest prefix with `context`.
    fn longest(
        &self,
        context: &[Token],
        most: usize,
        fits: impl Fn(&Slot<C>) -> bool,
    ) -> Option<Claim> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
            .filter(|(_, slot)| fits(slot))
            .map(|(slot, held)| Claim {
                slot,
                reused: common_prefix(&held.tokens, context).min(most),
            })
            .max_by_key(|claim| (claim.reused, std::cmp::Reverse(claim.slot)))
    }

    /// Drops what has not been used for longest until `needed` more bytes and one more slot fit.
    fn make_room(&mut self, needed: usize) -> bool {
        let (mut bytes, mut count) = (self.usage().0, self.slots.iter().flatten().count());
        while bytes + needed > self.limit || count >= MOST_SLOTS {
            let idle = self
                .slots
                .iter_mut()
                .filter(|slot| slot.as_ref().is_some_and(|slot| !slot.busy));
            let Some(oldest) = idle.min_by_key(|slot| slot.as_ref().map(|slot| slot.used)) else {
                return false;
            };
            bytes -= oldest.take().map_or(0, |slot| slot.cache.bytes());
            count -= 1;
        }
        true
    }

    fn keep(&mut self, session: u64, tokens: Vec<Token>, cache: C, busy: bool) -> usize {
        self.clock += 1;
        let slot = Some(Slot {
            cache,
            tokens,
            session,
            used: self.clock,
            busy,
        });
        match self.slots.iter().position(Option::is_none) {
            Some(index) => {
                self.slots[index] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }
}

fn common_prefix(a: &[Token], b: &[Token]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
