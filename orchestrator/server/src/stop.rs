//! Strings that end a text.

/// Looks for stop strings in a text that arrives in pieces, and holds back what may be the beginning of one.
#[derive(Debug)]
pub struct Stops {
    strings: Vec<String>,
    held: String,
}

/// What a piece of text comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    /// Text that is certain to belong to the answer.
    pub text: String,
    /// A stop string was found; `text` ends before it.
    pub stopped: bool,
}

impl Stops {
    /// A watch for these strings, none of them empty.
    pub fn new(strings: Vec<String>) -> Self {
        Self {
            strings,
            held: String::new(),
        }
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, piece: String) -> Passed {
        if self.strings.is_empty() {
            return Passed {
                text: piece,
                stopped: false,
            };
        }
        self.held.push_str(&piece);
        let found = self.strings.iter().filter_map(|stop| self.held.find(stop));
        if let Some(start) = found.min() {
            self.held.truncate(start);
            return Passed {
                text: std::mem::take(&mut self.held),
                stopped: true,
            };
        }
        let kept = self
            .strings
            .iter()
            .map(|stop| begun(&self.held, stop))
            .max();
        let certain = self.held.len() - kept.unwrap_or(0);
        Passed {
            text: self.held.drain(..certain).collect(),
            stopped: false,
        }
    }

    /// What was held back, when no further text will come.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// How many bytes at the end of `text` are the beginning of `stop`, but not all of it.
fn begun(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len() - 1);
    (1..=longest)
        .rev()
        .find(|&len| text.as_bytes().ends_with(&stop.as_bytes()[..len]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut watch = Stops::new(stops.iter().map(|&stop| stop.to_owned()).collect());
        let mut out = String::new();
        for &piece in pieces {
            let Passed { text, stopped } = watch.push(piece.to_owned());
            out.push_str(&text);
            if stopped {
                return (out, true);
            }
        }
        (out + &watch.finish(), false)
    }

    #[test]
    fn a_match_over_pieces_is_found_and_a_false_start_let_go() {
        assert_eq!(
            run(&["END"], &["the E", "N", "D of"]),
            ("the ".into(), true)
        );
        assert_eq!(
            run(&["END"], &["the E", "N", "C"]),
            ("the ENC".into(), false)
        );
        assert_eq!(run(&["aab"], &["aa", "a", "b"]), ("a".into(), true));
        assert_eq!(run(&["x", "yz"], &["ay", "z", "x"]), ("a".into(), true));
        assert_eq!(run(&["END"], &["EN"]), ("EN".into(), false));
    }

    #[test]
    fn what_may_be_a_beginning_is_held_back() {
        let mut watch = Stops::new(vec!["🦀!".into()]);
        let passed = watch.push("ab🦀".into());
        assert_eq!(passed.text, "ab");
        assert_eq!(watch.push("?".into()).text, "🦀?");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter_when_the_text_arrives_by_character(text in "[ab]{0,40}", stop in "[ab]{1,4}") {
            let letters: Vec<String> = text.chars().map(String::from).collect();
            let pieces: Vec<&str> = letters.iter().map(String::as_str).collect();
            let (out, stopped) = run(&[&stop], &pieces);
            match text.find(&stop) {
                Some(start) => prop_assert_eq!((out.as_str(), stopped), (&text[..start], true)),
                None => prop_assert_eq!((out.as_str(), stopped), (text.as_str(), false)),
            }
        }
    }
}
