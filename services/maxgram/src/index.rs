//! A suffix automaton over one text, with counted continuations.
//!
//! Blumer et al. 1985: one state per set of substrings that end at the same positions, at most 2n states and 3n edges,
//! O(1) amortised per appended token. Every edge also counts how often its token followed its state's substrings, which a
//! walk along the suffix links of the text keeps up to date. That walk may stop at the first full counter, because a
//! shorter suffix occurred at least as often; so no counter is touched more than [`COUNT_LIMIT`] times, the total work
//! stays linear, and no hidden pass over the automaton is needed before a proposal.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::Token;
use crate::hash::Mix;
use crate::journal::{Change, Journal};

/// Continuations are counted exactly up to this number of occurrences, and no further.
pub const COUNT_LIMIT: u32 = 64;

const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;

/// A text and, for each of its substrings, what followed it and how often.
///
/// Memory is linear in the text. [`Index::cut`] undoes appends exactly: an index that was extended and cut back is the
/// index that was never extended.
#[derive(Clone, Debug)]
pub struct Index {
    text: Vec<Token>,
    states: Vec<State>,
    edges: Vec<Edge>,
    /// From a state and a token to the edge between them.
    lookup: HashMap<(u32, Token), u32, BuildHasherDefault<Mix>>,
    /// The state of the whole text.
    last: u32,
    journal: Journal,
    /// Edges visited since the index was made: what the tests of linearity count.
    visits: u64,
}

/// All substrings that end at the same positions of the text.
#[derive(Clone, Debug, PartialEq)]
struct State {
    /// Tokens of the longest of them.
    length: u32,
    /// The state of the longest suffix that ends at more positions: the suffix link.
    link: u32,
    /// The newest of the edges that leave it; each names the one before it.
    newest: u32,
    /// The edge with the highest count, the latest counted among equals.
    best: u32,
    /// The sum of its edges' counts.
    total: u32,
}

#[derive(Clone, Debug, PartialEq)]
struct Edge {
    from: u32,
    token: Token,
    target: u32,
    /// How often `token` followed the substrings of `from`, up to [`COUNT_LIMIT`].
    count: u32,
    /// The edge that left `from` before this one.
    older: u32,
}

/// A suffix of some text as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    state: u32,
    /// How many tokens it has; 0 where nothing matches.
    pub length: usize,
}

/// The best-supported token after a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// The token.
    pub token: Token,
    /// How often it followed the match, up to [`COUNT_LIMIT`].
    pub count: u32,
    /// The counts of all tokens that followed the match, added up.
    pub total: u32,
}

impl Default for Index {
    fn default() -> Self {
        let root = State {
            length: 0,
            link: NONE,
            newest: NONE,
            best: NONE,
            total: 0,
        };
        Self {
            text: Vec::new(),
            states: vec![root],
            edges: Vec::new(),
            lookup: HashMap::default(),
            last: ROOT,
            journal: Journal::default(),
            visits: 0,
        }
    }
}

impl Index {
    /// The tokens it was made of.
    pub fn text(&self) -> &[Token] {
        &self.text
    }

    /// Appends tokens to the text: amortised O(1) each.
    pub fn extend(&mut self, tokens: &[Token]) {
        for &token in tokens {
            self.append(token);
        }
    }

    /// Cuts the text back to its first `len` tokens, in the time that appending the rest took.
    ///
    /// An append that is undone and repeated does not share its cost with others any more: each time it may visit all
    /// suffix links of the text. Those are a handful in most texts; in a run of one token, as many as the run is long.
    pub fn cut(&mut self, len: usize) {
        while self.text.len() > len {
            self.undo();
        }
    }

    /// The longest suffix of the text that occurred in it before.
    pub fn suffix(&self) -> Match {
        match self.state(self.last).link {
            NONE => Match {
                state: ROOT,
                length: 0,
            },
            state => self.whole(state),
        }
    }

    /// The longest suffix of `matched` and `token` that occurs in the text.
    pub fn follow(&self, matched: Match, token: Token) -> Match {
        let Match {
            mut state,
            mut length,
        } = matched;
        loop {
            if let Some(edge) = self.edge(state, token) {
                return Match {
                    state: self.edges[edge as usize].target,
                    length: length + 1,
                };
            }
            if state == ROOT {
                return Match {
                    state: ROOT,
                    length: 0,
                };
            }
            Match { state, length } = self.whole(self.state(state).link);
        }
    }

    /// What followed the longest suffix of `matched` that anything followed: that suffix and its most frequent
    /// continuation, the one counted last among equals. `None` when no suffix of at least one token has a continuation.
    pub fn continuation(&self, mut matched: Match) -> Option<(Match, Continuation)> {
        while matched.state != ROOT {
            let state = self.state(matched.state);
            if let Some(edge) = self.edges.get(state.best as usize) {
                return Some((
                    matched,
                    Continuation {
                        token: edge.token,
                        count: edge.count,
                        total: state.total,
                    },
                ));
            }
            matched = self.whole(state.link); // it only ends the text so far
        }
        None
    }

    /// Bytes of memory it holds.
    pub fn bytes(&self) -> usize {
        self.text.capacity() * size_of::<Token>()
            + self.states.capacity() * size_of::<State>()
            + self.edges.capacity() * size_of::<Edge>()
            + self.lookup.capacity() * (size_of::<((u32, Token), u32)>() + 1) * 8 / 7 // one control byte, load 7/8
            + self.journal.bytes()
    }

    fn append(&mut self, token: Token) {
        self.journal
            .open(self.states.len(), self.edges.len(), self.last);
        self.text.push(token);
        let whole = self.push_state(State {
            length: self.text.len() as u32,
            link: ROOT,
            newest: NONE,
            best: NONE,
            total: 0,
        });

        // Suffixes that `token` follows for the first time.
        let mut suffix = self.last;
        while suffix != NONE && self.edge(suffix, token).is_none() {
            let edge = self.push_edge(Edge {
                from: suffix,
                token,
                target: whole,
                count: 0,
                older: NONE,
            });
            self.count(edge);
            suffix = self.state(suffix).link;
        }
        self.last = whole;

        // Shorter ones that it followed before: their class may have to be split, then one more occurrence is counted.
        if let Some(edge) = self.edge(suffix, token) {
            let target = self.edges[edge as usize].target;
            let length = self.state(suffix).length + 1;
            let class = if self.state(target).length == length {
                target
            } else {
                self.split(suffix, token, target)
            };
            self.states[whole as usize].link = class;
        }
        while let Some(edge) = self
            .edge(suffix, token)
            .filter(|&edge| self.edges[edge as usize].count < COUNT_LIMIT)
        {
            self.count(edge);
            suffix = self.state(suffix).link;
        }
    }

    /// Takes the substrings up to `suffix` + `token` out of `target`, which holds longer ones too, into a state of their
    /// own: from now on they end at one position more.
    fn split(&mut self, suffix: u32, token: Token, target: u32) -> u32 {
        let old = self.state(target).clone();
        let class = self.push_state(State {
            length: self.state(suffix).length + 1,
            link: old.link,
            total: old.total,
            newest: NONE,
            best: NONE,
        });
        let mut next = old.newest;
        while next != NONE {
            let edge = self.edges[next as usize].clone();
            let copy = self.push_edge(Edge {
                from: class,
                ..edge
            });
            if old.best == next {
                self.states[class as usize].best = copy;
            }
            next = edge.older;
        }
        self.journal.push(Change::Link {
            state: target,
            link: old.link,
        });
        self.states[target as usize].link = class;

        let mut from = suffix;
        while let Some(edge) = self
            .edge(from, token)
            .filter(|&edge| self.edges[edge as usize].target == target)
        {
            self.journal.push(Change::Target { edge, target });
            self.edges[edge as usize].target = class;
            self.visits += 1;
            from = self.state(from).link;
        }
        class
    }

    fn count(&mut self, index: u32) {
        let edge = &mut self.edges[index as usize];
        edge.count += 1;
        let count = edge.count;
        let from = edge.from as usize;
        let best = self.states[from].best;
        self.journal.push(Change::Count { edge: index, best });
        if best == NONE || count >= self.edges[best as usize].count {
            self.states[from].best = index;
        }
        self.states[from].total += 1;
        self.visits += 1;
    }

    fn push_state(&mut self, state: State) -> u32 {
        self.states.push(state);
        self.states.len() as u32 - 1
    }

    /// Adds an edge as the newest of its state.
    fn push_edge(&mut self, edge: Edge) -> u32 {
        let index = self.edges.len() as u32;
        let older = std::mem::replace(&mut self.states[edge.from as usize].newest, index);
        self.lookup.insert((edge.from, edge.token), index);
        self.edges.push(Edge { older, ..edge });
        self.visits += 1;
        index
    }

    /// Undoes the last append.
    fn undo(&mut self) {
        let Some((opened, changes)) = self.journal.close() else {
            return;
        };
        for change in changes.rev() {
            match change {
                Change::Link { state, link } => self.states[state as usize].link = link,
                Change::Target { edge, target } => self.edges[edge as usize].target = target,
                Change::Count { edge, best } => {
                    let edge = &mut self.edges[edge as usize];
                    edge.count -= 1;
                    let state = &mut self.states[edge.from as usize];
                    state.best = best;
                    state.total -= 1;
                }
            }
        }
        for edge in self.edges.drain(opened.edges..).rev() {
            self.lookup.remove(&(edge.from, edge.token));
            self.states[edge.from as usize].newest = edge.older;
        }
        self.states.truncate(opened.states);
        self.last = opened.last;
        self.text.pop();
    }

    fn state(&self, index: u32) -> &State {
        &self.states[index as usize]
    }

    fn edge(&self, state: u32, token: Token) -> Option<u32> {
        self.lookup.get(&(state, token)).copied()
    }

    fn whole(&self, state: u32) -> Match {
        Match {
            state,
            length: self.state(state).length as usize,
        }
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
