//! Makes the README's picture of the page: a live cascade, a real browser, one text, one race.

use anyhow::{Result, ensure};
use clap::Parser;
use csd_tests::{Up, browser::Browser, enlarged::enlarged, root};

/// Makes a picture of the page.
#[derive(Parser)]
struct Args {
    /// The cascade file.
    #[arg(long, default_value = "config/tiny-q8.toml")]
    cascade: String,
    /// Put the bundled target, enlarged to about 308 million parameters, in the target's place.
    #[arg(long)]
    enlarge: bool,
    /// Which of the page's examples to write, counted from 0.
    #[arg(long, default_value_t = 2)]
    example: usize,
    /// As a dark desktop shows it.
    #[arg(long)]
    dark: bool,
    /// Where the picture goes, from the workspace's root.
    #[arg(long, default_value = "orchestrator/server/src/page/screenshot.png")]
    out: String,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let cascade = if args.enlarge {
        enlarged(&args.cascade)?
    } else {
        args.cascade.clone()
    };
    let up = Up::start(&cascade)?;
    let mut page = Browser::start(1280, 1000, args.dark)?;
    page.open(&up.url)?;
    page.wait("document.body?.dataset.ready === 'true'")?;
    page.value(&format!(
        "document.querySelectorAll('#examples button')[{}].click()",
        args.example
    ))?;
    for _warm_then_shown in 0..2 {
        page.value("document.getElementById('status').textContent = ''; document.getElementById('seed').value = '7'; document.getElementById('generate').click()")?;
        page.wait("document.getElementById('status').textContent.startsWith('Finished')")?;
    }
    page.value("document.getElementById('race').click()")?;
    page.wait("document.getElementById('verdict').textContent !== ''")?;
    page.value("document.querySelectorAll('.token')[Math.floor(document.querySelectorAll('.token').length * 0.7)].focus()")?;
    ensure!(page.troubles.is_empty(), "{:?}", page.troubles);
    let path = root().join(&args.out);
    page.save(&path)?;
    Ok(())
}
