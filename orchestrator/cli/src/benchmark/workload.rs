//! What is written: prompts of five kinds, the same at every run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Lines of a piece of source code that a prompt shows.
const PIECE: usize = 24;
/// Lines of it that a copy-heavy prompt begins to repeat.
const REPEATED: usize = 3;

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// Word problems; the answers end by themselves after some thirty tokens.
    Arithmetic,
    /// The same, written on after their end.
    ArithmeticLong,
    /// Source code to continue.
    Code,
    /// Source code of which a second, slightly changed copy has begun.
    Editing,
    /// A conversation of several turns to continue.
    Chat,
}

/// A line of `models/golden.jsonl`: prompts held out of the bundled family's training.
#[derive(Debug, Deserialize)]
struct Golden {
    kind: String,
    prompt: String,
}

impl Workload {
    /// As the command line writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Arithmetic => "arithmetic",
            Self::ArithmeticLong => "arithmetic-long",
            Self::Code => "code",
            Self::Editing => "editing",
            Self::Chat => "chat",
        }
    }

    /// Tokens of a text at most.
    pub(crate) fn max_tokens(self) -> usize {
        match self {
            Self::ArithmeticLong => 160,
            _ => 96,
        }
    }

    /// Whether a text goes on after its end.
    pub(crate) fn ignores_end(self) -> bool {
        self == Self::ArithmeticLong
    }

    /// `count` prompts, the recorded ones of the clone at `root` first.
    ///
    /// # Errors
    /// The clone's files cannot be read, or have too little code for so many.
    pub(crate) fn prompts(self, root: &Path, count: usize) -> Result<Vec<String>> {
        let golden = |kind: &str| recorded(root, kind);
        let mut prompts = match self {
            Self::Arithmetic | Self::ArithmeticLong => golden("math")?,
            Self::Code => golden("code")?,
            Self::Editing | Self::Chat => Vec::new(),
        };
        match self {
            Self::Arithmetic | Self::ArithmeticLong => {
                prompts.extend((0..count).map(|number| turn(&problem(number))));
            }
            Self::Code => prompts.extend(pieces(root)?.iter().map(|lines| lines.join("\n") + "\n")),
            Self::Editing => prompts.extend(pieces(root)?.iter().map(|lines| edited(lines))),
            Self::Chat => prompts.extend((0..count).map(conversation)),
        }
        if prompts.len() < count {
            bail!(
                "{}: there are {} prompts, not {count}",
                self.name(),
                prompts.len()
            );
        }
        prompts.truncate(count);
        Ok(prompts)
    }
}

/// The clone of the project that `start` is in.
///
/// # Errors
/// It is in none.
pub(crate) fn clone_around(start: &Path) -> Result<PathBuf> {
    let root = start
        .ancestors()
        .find(|folder| folder.join("models/golden.jsonl").is_file());
    root.map(Path::to_owned)
        .with_context(|| format!("no models/golden.jsonl in {} or above it; run csd bench inside a clone of the project, whose texts it takes its prompts from", start.display()))
}

fn recorded(root: &Path, kind: &str) -> Result<Vec<String>> {
    let path = root.join("models/golden.jsonl");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = text.lines().map(serde_json::from_str::<Golden>);
    let lines: Vec<Golden> = lines
        .collect::<Result<_, _>>()
        .with_context(|| path.display().to_string())?;
    let of_kind = lines.into_iter().filter(|line| line.kind == kind);
    Ok(of_kind.map(|line| line.prompt).collect())
}

/// Something said by a user, and the assistant's turn to answer.
fn turn(said: &str) -> String {
    format!("<|user|>\n{said}\n<|assistant|>\n")
}

/// A word problem.
fn problem(number: usize) -> String {
    let mut dice = Dice(number as u64);
    let who = dice.pick(&[
        "Nora", "Liam", "Zoe", "Omar", "Victor", "Ada", "Chloe", "Hugo",
    ]);
    let what = dice.pick(&["apples", "coins", "books", "marbles", "stamps", "eggs"]);
    let place = dice.pick(&["market", "school", "farm", "library"]);
    let (many, few, fewer) = (dice.roll(30, 90), dice.roll(3, 20), dice.roll(2, 9));
    match dice.roll(0, 3) {
        0 => format!(
            "{who} has {many} {what}. At the {place} {who} gives away {few} {what} and then finds {fewer} more. How many {what} does {who} have now?"
        ),
        1 => format!(
            "There are {many} {what} at the {place}. {who} takes {few} {what} on Monday and {fewer} {what} on Tuesday. How many {what} are left?"
        ),
        _ => format!(
            "{who} packs {few} boxes with {fewer} {what} each and has {many} {what} left over. How many {what} did {who} have at first?"
        ),
    }
}

/// Two problems with their answers, and a third.
fn conversation(number: usize) -> String {
    let mut dice = Dice(1_000_000 + number as u64);
    let mut text = String::new();
    for _ in 0..2 {
        let (many, few) = (dice.roll(30, 90), dice.roll(3, 20));
        let what = dice.pick(&["plums", "pens", "tickets", "shells"]);
        let left = many - few;
        text += &turn(&format!(
            "I had {many} {what} and gave away {few}. How many {what} do I have left?"
        ));
        text += &format!(
            "You have {many} - {few} = {left} {what} left. The answer is {left}.<|end|>\n"
        );
    }
    text + &turn(&problem(2_000_000 + number))
}

/// A piece of code, and the first lines of its copy under another name.
fn edited(lines: &[String]) -> String {
    let piece = lines.join("\n");
    let copy = lines[..REPEATED].join("\n").replace("self", "this");
    format!("{piece}\n\n// The same again, with `this` instead of `self`:\n{copy}\n")
}

/// Pieces of the workspace's own Rust, in a fixed order that mixes its crates.
fn pieces(root: &Path) -> Result<Vec<Vec<String>>> {
    let mut files = Vec::new();
    for folder in ["services", "orchestrator", "config/src", "tests"] {
        sources(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut pieces = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        pieces.extend(lines.chunks_exact(PIECE).map(<[_]>::to_vec));
    }
    let len = pieces.len().max(1);
    // A step that shares no factor with most lengths visits every piece, neighbours far apart.
    Ok((0..pieces.len())
        .map(|index| pieces[index * 89 % len].clone())
        .collect())
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// Numbers that look random and are the same at every run (the steps of a linear congruential generator).
struct Dice(u64);

impl Dice {
    /// From `least` up to `limit`, exclusive.
    fn roll(&mut self, least: u64, limit: u64) -> u64 {
        for _ in 0..2 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
        }
        least + (self.0 >> 33) % (limit - least)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(0, from.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_workload_has_its_prompts_and_they_differ() {
        let root = clone_around(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("a clone");
        for workload in Workload::value_variants() {
            let prompts = workload.prompts(&root, 120).expect("prompts");
            let distinct: HashSet<&String> = prompts.iter().collect();
            assert!(
                distinct.len() > 110,
                "{}: {}",
                workload.name(),
                distinct.len()
            );
            assert_eq!(prompts, workload.prompts(&root, 120).expect("prompts"));
        }
    }

    #[test]
    fn a_place_without_texts_is_told() {
        let error = clone_around(Path::new("/")).expect_err("no clone");
        assert!(error.to_string().contains("golden.jsonl"), "{error}");
    }
}
