//! The page in a real browser, over a live cascade, by keyboard alone. Pictures are left in `target/page`.
//!
//! Skipped, aloud, where there is no Chromium (`apt-get install chromium`).

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use csd_tests::{
    Up,
    browser::{self, Browser},
    process, root, skipped,
};
use serde_json::{Value, json};

/// With everything that an address would change if one let it.
const KEY: &str = "sk-a+b%2F/c&d=e";

const FINISHED: &str = "document.getElementById('status').textContent.startsWith('Finished')";

fn open(up: &Up, width: u32, height: u32, dark: bool) -> Result<Browser> {
    let mut page = Browser::start(width, height, dark)?;
    page.open(&up.url)?;
    page.wait("document.body?.dataset.ready === 'true'")?;
    Ok(page)
}

/// Keeps a picture for whoever wants to look.
fn keep(page: &mut Browser, name: &str) -> Result<()> {
    let path = root().join(format!("target/page/{name}.png"));
    page.save(&path)?;
    ensure!(fs::metadata(&path)?.len() > 20_000, "an empty picture");
    Ok(())
}

/// Walks to an element as a keyboard does.
fn walk(page: &mut Browser, id: &str) -> Result<()> {
    for _ in 0..40 {
        if page.value("document.activeElement.id")? == *id {
            return Ok(());
        }
        page.press("Tab", false)?;
    }
    Err(anyhow::anyhow!("Tab never reaches {id}"))
}

#[test]
fn the_page_shows_the_cascade_in_a_real_browser() {
    if browser::installed().is_none() {
        skipped("the page in a browser, for there is no Chromium here (apt-get install chromium)");
        return;
    }
    let up = Up::start("config/tiny.toml").expect("the bundled cascade comes up");
    desktop(&up).expect("light, wide, by keyboard");
    narrow(&up).expect("dark, narrow, refused, stopped");
    broken(&up).expect("the target killed");
}

fn desktop(up: &Up) -> Result<()> {
    let mut page = open(up, 1440, 1200, false)?;
    page.value(
        "window.jumps = 0; new PerformanceObserver((list) => { for (const entry of list.getEntries()) \
         if (!entry.hadRecentInput) window.jumps += entry.value; }).observe({type: 'layout-shift', buffered: true}); null",
    )?;
    walk(&mut page, "seed")?;
    page.value("document.activeElement.value = '7'")?;
    page.press("Enter", true)?;
    page.wait(FINISHED)?;

    let prompt = page.value("document.getElementById('prompt').value")?;
    let body = json!({"prompt": prompt, "max_tokens": 96, "temperature": 0, "seed": 7, "return_token_ids": true});
    let answer = up.complete(&body)?;
    let authors = answer["cascade"]["authors"]
        .as_array()
        .context("authors")?
        .clone();
    let shown = page.value(
        "[...document.querySelectorAll('.token')].map((token) => token.token.text).join('')",
    )?;
    ensure!(
        shown == answer["choices"][0]["text"],
        "{shown} is another text"
    );
    let colours = page.value(
        "[...document.querySelectorAll('.token')].map((token) => { const style = getComputedStyle(token); \
         return [token.dataset.level, style.textDecorationStyle, style.textDecorationColor].join(); })",
    )?;
    let colours = colours.as_array().context("colours")?;
    ensure!(colours.len() == authors.len(), "{} tokens", colours.len());
    let distinct: BTreeSet<_> = colours.iter().filter_map(Value::as_str).collect();
    let looks: BTreeSet<_> = distinct
        .iter()
        .filter_map(|look| look.split_once(','))
        .map(|(_, look)| look)
        .collect();
    ensure!(
        distinct.len() >= 2 && looks.len() == distinct.len(),
        "authors look alike: {distinct:?}"
    );
    let counted = page.value("[...document.querySelectorAll('.legend .count')].reduce((sum, count) => sum + parseInt(count.textContent), 0)")?;
    ensure!(counted == authors.len(), "the legend counts {counted}");

    let reviews = page.value("document.querySelectorAll('.call[data-level=\"0\"]').length")?;
    let rounds = page.value("new Set([...document.querySelectorAll('.token')].map((token) => token.dataset.round)).size")?;
    ensure!(
        reviews == rounds && reviews.as_u64() > Some(1),
        "{reviews} reviews in {rounds} rounds"
    );
    let drafts =
        page.value("document.querySelectorAll('.call:not([data-level=\"0\"]) rect').length")?;
    ensure!(drafts.as_u64() > Some(3), "{drafts} bars of drafters");
    let rows = page.value("document.querySelectorAll('#pairs tbody tr').length")?;
    ensure!(rows.as_u64() > Some(1), "{rows} pairs");
    page.wait("document.querySelectorAll('#positions .part').length > 0")?;

    walk(&mut page, "text")?;
    for key in ["ArrowRight", "ArrowRight", "End"] {
        page.press(key, false)?;
    }
    let tip =
        "document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent";
    let told = page.value(tip)?;
    // Who wrote a token is no part of the text, and may be another the next time.
    let last = page.value("[...document.querySelectorAll('.token')].at(-1).token.author")?;
    let last = ["target", "draft", "mini", "maxgram"][last.as_u64().context("an author")? as usize];
    ensure!(
        told.as_str()
            .is_some_and(|told| told.contains(last) && told.contains("round")),
        "{told}"
    );
    let lit = page.value("document.querySelectorAll('.call.lit').length")?;
    ensure!(
        lit.as_u64() > Some(0),
        "the token's round is not marked in the lanes"
    );
    page.press("Escape", false)?;
    ensure!(page.value(tip)? == "", "Escape leaves the card");

    walk(&mut page, "lanes")?;
    for key in ["ArrowRight", "ArrowDown", "ArrowUp"] {
        page.press(key, false)?;
    }
    let told = page.value(tip)?;
    ensure!(
        told.as_str()
            .is_some_and(|told| told.contains("forward") && told.contains("network")),
        "{told}"
    );

    walk(&mut page, "race")?;
    page.press("Enter", false)?;
    page.wait("document.getElementById('verdict').textContent !== ''")?;
    let verdict = page.value("document.getElementById('verdict').textContent")?;
    ensure!(
        verdict
            .as_str()
            .is_some_and(|verdict| verdict.contains("token for token")),
        "{verdict}"
    );
    keep(&mut page, "light")?;

    let jumps = page.value("window.jumps")?;
    ensure!(jumps.as_f64() < Some(0.05), "the layout jumps: {jumps}");
    let foreign = page.value("performance.getEntriesByType('resource').filter((entry) => !entry.name.startsWith(location.origin)).length")?;
    ensure!(foreign == 0, "{foreign} resources from elsewhere");
    ensure!(page.troubles.is_empty(), "{:?}", page.troubles);
    Ok(())
}

fn narrow(up: &Up) -> Result<()> {
    let mut page = open(up, 360, 740, true)?;
    page.value("const plan = document.getElementById('plan'); plan.value = 'own'; plan.dispatchEvent(new Event('change')); null")?;
    page.value("document.querySelector('#matrix-body input').value = '-3'; document.getElementById('generate').click()")?;
    page.wait("!document.getElementById('matrix-error').hidden")?;
    let said = page.value("document.getElementById('matrix-error').textContent")?;
    ensure!(
        said.as_str()
            .is_some_and(|said| said.contains("cascade.k") && said.contains("-3")),
        "{said}"
    );
    let invalid = page.value("document.activeElement.getAttribute('aria-invalid')")?;
    ensure!(invalid == "true", "the field at fault has no focus");
    keep(&mut page, "refused")?;
    page.value("document.querySelector('#matrix-body input').value = '6'; document.getElementById('generate').click()")?;
    page.wait(FINISHED)?;
    ensure!(
        page.value("document.getElementById('notice').hidden")? == true,
        "the refusal stays"
    );
    let wide = page.value("document.documentElement.scrollWidth")?;
    ensure!(wide.as_u64() <= Some(360), "{wide} pixels wide on 360");
    let unnamed = page.value(
        "[...document.querySelectorAll('input, select, textarea, button')].filter((field) => \
         !(field.labels?.length || field.getAttribute('aria-label') || field.textContent.trim())).length",
    )?;
    ensure!(unnamed == 0, "{unnamed} controls without a name");
    keep(&mut page, "dark")?;

    page.value("document.getElementById('ignore_eos').checked = true; document.getElementById('max_tokens').value = '1500'; document.getElementById('generate').click()")?;
    page.wait("document.querySelectorAll('.token').length > 5")?;
    page.press("Escape", false)?;
    page.wait("document.getElementById('notice-title').textContent === 'Stopped.'")?;
    let refused = page
        .troubles
        .iter()
        .filter(|trouble| !trouble.contains("400"));
    ensure!(refused.count() == 0, "{:?}", page.troubles);
    Ok(())
}

#[test]
fn a_key_behind_the_address_opens_the_page_and_is_not_left_there() {
    if browser::installed().is_none() {
        skipped("the page with a key, for there is no Chromium here (apt-get install chromium)");
        return;
    }
    let up = Up::start_with("config/tiny.toml", &[("CSD_API_KEY", KEY)]).expect("it comes up");
    keyed(&up).expect("asked for, refused, let in");
}

fn keyed(up: &Up) -> Result<()> {
    let mut page = Browser::start(1280, 900, false)?;
    page.open(&up.url)?;
    page.wait("document.getElementById('notice')?.hidden === false")?;
    let notice = "document.getElementById('notice').textContent";
    let says = |page: &mut Browser, words: &[&str]| -> Result<()> {
        let said = page.value(notice)?;
        let said = said.as_str().context("a notice")?;
        let missing = words.iter().find(|word| !said.contains(**word));
        ensure!(missing.is_none(), "no {missing:?} in {said:?}");
        Ok(())
    };
    let address = format!("{}/#key=YOUR-KEY", up.url);
    says(&mut page, &["asks for an API key", &address])?;
    ensure!(
        page.value("document.getElementById('generate').disabled")? == true,
        "a button that can only fail"
    );
    keep(&mut page, "locked")?;

    page.open(&format!("{}/#key=sk-of-somebody-else", up.url))?;
    page.wait(&format!("{notice}.includes('does not know')"))?;
    says(&mut page, &[&address])?;
    hidden(&mut page, "somebody-else")?;

    // Behind the address of a page that is open, for which nothing is loaded; loaded again without it; in a tab that shows
    // something else.
    let with_key = format!("{}/#key={KEY}", up.url);
    for address in [&with_key, &up.url, "about:blank", &with_key] {
        page.open(address)?;
        if address == "about:blank" {
            continue;
        }
        page.wait("document.body?.dataset.ready === 'true'")?;
        ensure!(
            page.value("document.getElementById('notice').hidden")? == true,
            "the notice stays"
        );
        hidden(&mut page, KEY)?;
        page.value("document.querySelector('.skip').click()")?;
        page.value("document.getElementById('generate').click()")?;
        page.wait(FINISHED)?;
    }
    keep(&mut page, "unlocked")?;
    let shared = page.value("fetch('v1/models').then((answer) => answer.status)")?;
    ensure!(
        shared == 401,
        "{shared}: the browser sends the key of itself"
    );
    Ok(())
}

/// A key is neither in an address, nor on the page.
fn hidden(page: &mut Browser, key: &str) -> Result<()> {
    let addresses = page.addresses()?;
    ensure!(
        !addresses.iter().any(|address| address.contains(key)),
        "{addresses:?}"
    );
    let everything = "location.href + document.title + document.documentElement.outerHTML + \
                      [...document.querySelectorAll('input, textarea')].map((field) => field.value).join() + \
                      performance.getEntriesByType('resource').map((entry) => entry.name).join()";
    let shown = page.value(&format!("({everything}).includes({key:?})"))?;
    ensure!(shown == false, "the key is on the page");
    Ok(())
}

/// A text whose target dies is shown as what it is.
fn broken(up: &Up) -> Result<()> {
    let mut page = open(up, 1280, 900, false)?;
    page.value(
        "window.asked = window.fetch; window.fetch = async () => new Response( \
         '{\"error\": {\"message\": \"too many requests\"}}', {status: 429, headers: {'retry-after': '7'}}); \
         document.getElementById('generate').click()",
    )?;
    page.wait("!document.getElementById('notice').hidden")?;
    let said = page.value("document.getElementById('notice').textContent")?;
    let explained = |said: &str| said.starts_with("All places are taken.") && said.contains("7 s");
    ensure!(said.as_str().is_some_and(explained), "{said}");
    page.value(
        "window.fetch = window.asked; document.getElementById('ignore_eos').checked = true; \
         document.getElementById('max_tokens').value = '1800'; document.getElementById('generate').click()",
    )?;
    page.wait("document.querySelectorAll('.token').length > 5 && document.getElementById('notice').hidden")?;
    process::signal(up.level("target")?.pid, "KILL")?;
    page.wait("!document.getElementById('notice').hidden")?;
    let said = page.value("document.getElementById('notice').textContent")?;
    let honest =
        |said: &str| said.starts_with("The text is incomplete.") && said.contains("target");
    ensure!(said.as_str().is_some_and(honest), "{said}");
    let raceable = page.value("!document.getElementById('race').disabled")?;
    ensure!(raceable == false, "half a text is no measure");
    keep(&mut page, "broken")
}
