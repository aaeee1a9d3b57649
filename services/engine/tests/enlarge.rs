//! An enlarged model costs more and writes the same.

mod support;

use std::{fs, path::Path};

use csd_engine::{Checkpoint, LoadError, Weights, enlarge};

use support::{bundled, engine, write};

/// A folder that is gone when the test is over.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("csd-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_enlarged_model_writes_the_same_tokens() {
    let small = bundled("tiny/mini");
    let folder = Folder::new("enlarged");
    let mut heard = Vec::new();
    let made = enlarge(&small, &folder.0, 2, 300, |done, all| {
        heard.push((done, all))
    })
    .unwrap();
    let file = fs::metadata(folder.0.join("model.safetensors")).unwrap();
    assert_eq!(file.len(), made.bytes);
    assert!(heard.is_sorted() && heard.last().is_some_and(|&(done, all)| done == all));

    let large = Checkpoint::open(&folder.0).unwrap();
    assert_eq!((large.config.hidden, large.config.layers), (384, 2));
    assert_eq!((large.config.heads, large.config.kv_heads), (12, 4));
    assert_eq!(large.tokens, Checkpoint::open(&small).unwrap().tokens);

    let (small, large) = (
        engine(small, Weights::F32, 1),
        engine(folder.0.clone(), Weights::F32, 1),
    );
    assert!(large.weight_bytes() > 4 * small.weight_bytes());
    for prompt in [[1u32, 203, 455, 644].as_slice(), &[1200, 643, 304]] {
        let text = |engine| write(engine, prompt, 24, |_| Vec::new());
        assert_eq!(text(&large), text(&small));
    }
}

#[test]
fn what_cannot_be_enlarged_is_refused() {
    let small = bundled("tiny/mini");
    let folder = Folder::new("refused");
    let asked = |from: &Path, to: &Path, layers, ffn| enlarge(from, to, layers, ffn, |_, _| ());
    let fewer = asked(&small, &folder.0, 0, 300).unwrap_err();
    assert!(
        matches!(
            fewer,
            LoadError::Setting {
                setting: "layers",
                ..
            }
        ),
        "{fewer}"
    );
    let narrower = asked(&small, &folder.0, 1, 8).unwrap_err();
    assert!(
        matches!(narrower, LoadError::Setting { setting: "ffn", .. }),
        "{narrower}"
    );
    let same = asked(&small, &small, 1, 300).unwrap_err();
    assert!(
        matches!(same, LoadError::Setting { setting: "to", .. }),
        "{same}"
    );
    let nothing = asked(&folder.0, &folder.0.join("to"), 1, 300).unwrap_err();
    assert!(matches!(nothing, LoadError::Read { .. }), "{nothing}");
}
