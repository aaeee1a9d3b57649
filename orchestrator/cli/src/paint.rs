//! Colours on a terminal: every level writes in its own.

use std::io::IsTerminal;

/// Bold for the target; the rest are for whoever comes.
const TARGET: &str = "1";
const KNOWN: [(&str, &str); 3] = [("draft", "36"), ("mini", "32"), ("maxgram", "33")];
const OTHERS: [&str; 6] = ["35", "34", "96", "92", "93", "95"];

/// Gives each level its colour, or none at all.
#[derive(Debug)]
pub(crate) struct Paint {
    on: bool,
    others: Vec<String>,
}

impl Paint {
    /// Colours if `stream` is a terminal that shows them and `NO_COLOR` is not set.
    pub(crate) fn for_stream(stream: &impl IsTerminal) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self::new(stream.is_terminal() && !set("NO_COLOR") && !dumb)
    }

    /// Colours, or none.
    pub(crate) fn new(on: bool) -> Self {
        Self {
            on,
            others: Vec::new(),
        }
    }

    /// Whether there are colours.
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// `text` in the colour of `level`.
    pub(crate) fn level(&mut self, level: &str, text: &str) -> String {
        let code = self.code(level);
        self.wrap(code, text)
    }

    /// `text`, less loud.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn code(&mut self, level: &str) -> &'static str {
        if level == "target" {
            return TARGET;
        }
        if let Some((_, code)) = KNOWN.iter().find(|(name, _)| *name == level) {
            return code;
        }
        let known = self.others.iter().position(|name| name == level);
        let index = known.unwrap_or_else(|| {
            self.others.push(level.to_owned());
            self.others.len() - 1
        });
        OTHERS[index % OTHERS.len()]
    }

    fn wrap(&self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_nothing_is_added() {
        let mut paint = Paint::new(false);
        assert_eq!(paint.level("draft", "fn main"), "fn main");
        assert_eq!(paint.dim("x"), "x");
    }

    #[test]
    fn every_level_keeps_a_colour_of_its_own() {
        let mut paint = Paint::new(true);
        let names = ["target", "draft", "mini", "maxgram", "a", "b"];
        let first = names.map(|name| paint.level(name, "x"));
        let again = names.map(|name| paint.level(name, "x"));
        assert_eq!(first, again);
        let distinct: std::collections::HashSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert_eq!(paint.level("draft", ""), "");
    }
}
