//! Sequences that are remembered between calls, and what is found again of them.
//!
//! A slot holds the keys and values of one sequence and the tokens that they belong to. A call takes its session's own
//! slot, cut back to what the tokens have in common, or a fork of the slot that shares the longest prefix; nobody else's
//! slot is ever cut.
//!
//! What has not been used for longest makes room, but not what is still in use: were more texts written at once than there
//! is room for, each would drop the next one's keys and values just before it came back for them, and all would read their
//! texts anew at every call. So a session waits until those before it have ended, and takes the place of none but later
//! ones.

use csd_level::Token;

use crate::decoder::backend::Sequence;

/// Slots that are kept at most, however small they are: each call compares its tokens with every one of them.
const MOST_SLOTS: usize = 256;

/// Forwards after which a session that had no part in them is taken to have ended. Its drafts are written meanwhile.
const LAPSE: u64 = 16;

/// The remembered sequences of one model.
pub(crate) struct Slots<C> {
    slots: Vec<Option<Slot<C>>>,
    limit: usize,
    clock: u64,
    forwards: u64,
}

struct Slot<C> {
    cache: C,
    /// What has been computed so far: position p holds the keys and values of `tokens[p]`.
    tokens: Vec<Token>,
    session: u64,
    /// When the session came.
    since: u64,
    used: u64,
    /// The forwards before its last use.
    forwards: u64,
    busy: bool,
}

/// What a call asks for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) session: u64,
    /// Positions that may have been computed before; logits of the last one are wanted, so it is computed anew.
    pub(crate) context: &'a [Token],
    /// Positions in all.
    pub(crate) len: usize,
    /// Whether it need not wait for sessions that are between two calls.
    pub(crate) urgent: bool,
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
            forwards: 0,
        }
    }

    /// Takes a slot for a call.
    ///
    /// `None` when others leave no room: there will be some when they are released, or have ended.
    pub(crate) fn claim(&mut self, wanted: Wanted<'_>, empty: impl FnOnce() -> C) -> Option<Claim> {
        let Wanted {
            session,
            context,
            len,
            urgent,
        } = wanted;
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
        self.clock += 1;
        let own_slot = own.and_then(|own| self.slots[own.slot].as_ref());
        let since = own_slot.map_or(self.clock, |slot| slot.since);
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
        let has_room = self.make_room(needed, since, urgent);
        if has_room {
            cache.reserve(len);
        }
        let slot = self.keep(Slot {
            cache,
            tokens: context[..reused].to_vec(),
            session,
            since,
            used: self.clock,
            forwards: self.forwards,
            busy: has_room,
        });
        has_room.then_some(Claim { slot, reused })
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
            slot.forwards = self.forwards;
        }
    }

    /// Notes that a forward has been computed.
    pub(crate) fn forwarded(&mut self) {
        self.forwards += 1;
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

    /// Drops what may go until `needed` more bytes and one more slot fit a session that came at `since`: what has not been
    /// used for longest, of sessions that have ended or, if it is urgent, of all; then those that came last. Nothing, where
    /// all of that would not do: whoever lost it would read its text anew, and nobody would be helped.
    fn make_room(&mut self, needed: usize, since: u64, urgent: bool) -> bool {
        let (mut bytes, mut count) = (self.usage().0, self.slots.iter().flatten().count());
        let rank = |slot: &Slot<C>| {
            let ended = urgent || self.forwards - slot.forwards > LAPSE;
            match slot.busy {
                true => None,
                false if ended => Some((0, slot.used)),
                false => (slot.since > since).then(|| (1, u64::MAX - slot.since)),
            }
        };
        let slots = self.slots.iter().enumerate();
        let mut may_go: Vec<_> = slots
            .filter_map(|(index, slot)| {
                let slot = slot.as_ref()?;
                Some((rank(slot)?, index, slot.cache.bytes()))
            })
            .collect();
        may_go.sort_unstable();
        let mut going = Vec::new();
        let mut may_go = may_go.into_iter();
        while bytes + needed > self.limit || count >= MOST_SLOTS {
            let Some((_, index, held)) = may_go.next() else {
                return false;
            };
            going.push(index);
            bytes -= held;
            count -= 1;
        }
        for index in going {
            self.slots[index] = None;
        }
        true
    }

    fn keep(&mut self, slot: Slot<C>) -> usize {
        match self.slots.iter().position(Option::is_none) {
            Some(index) => {
                self.slots[index] = Some(slot);
                index
            }
            None => {
                self.slots.push(Some(slot));
                self.slots.len() - 1
            }
        }
    }
}

fn common_prefix(a: &[Token], b: &[Token]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
