//! A real browser, driven through its debugging pipe: no port, no driver program, no further dependency.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::root;

/// Names that Chromium goes by.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// How long any single step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One page in a headless Chromium of its own; dropping it ends the browser.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    profile: PathBuf,
    number: u64,
    session: Option<String>,
    /// What went wrong on the page: exceptions, and what the browser refused to do.
    pub troubles: Vec<String>,
}

/// The Chromium of this machine, if it has one.
pub fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let places = NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    places.into_iter().find(|place| place.is_file())
}

impl Browser {
    /// Starts a browser with an empty page of `width` × `height` pixels.
    ///
    /// # Errors
    /// When there is none, or it does not start.
    pub fn start(width: u32, height: u32, dark: bool) -> Result<Self> {
        let program = installed().context("no Chromium on this machine")?;
        let profile = root().join(format!(
            "target/page/profile-{}-{width}-{dark}",
            std::process::id()
        ));
        std::fs::create_dir_all(&profile)?;
        // The browser reads commands from descriptor 3 and answers on 4. Its sandbox needs rights that containers lack;
        // it shows nobody's page but ours.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
            ])
            .arg(program)
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--no-first-run",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = child.stdin.take().context("no pipe")?;
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else {
                    break;
                };
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            messages,
            profile,
            number: 0,
            session: None,
            troubles: Vec::new(),
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}))?;
        }
        browser.resize(width, height)?;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.call("Emulation.setEmulatedMedia", media)?;
        Ok(browser)
    }

    /// Changes the size of the window.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn resize(&mut self, width: u32, height: u32) -> Result<()> {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", metrics)
            .map(drop)
    }

    /// Opens a page.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn open(&mut self, url: &str) -> Result<()> {
        let answer = self.call("Page.navigate", json!({"url": url}))?;
        ensure!(
            answer.get("errorText").is_none(),
            "{url}: {}",
            answer["errorText"]
        );
        Ok(())
    }

    /// Every address in the tab's history.
    ///
    /// # Errors
    /// When the browser does not say.
    pub fn addresses(&mut self) -> Result<Vec<String>> {
        let history = self.call("Page.getNavigationHistory", json!({}))?;
        let entries = history["entries"].as_array().context("no history")?;
        let addresses = entries.iter().filter_map(|entry| entry["url"].as_str());
        Ok(addresses.map(str::to_owned).collect())
    }

    /// The value of a JavaScript expression.
    ///
    /// # Errors
    /// When it throws.
    pub fn value(&mut self, expression: &str) -> Result<Value> {
        let ask = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", ask)?;
        ensure!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn wait(&mut self, expression: &str) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.value(expression)? != true {
            ensure!(
                Instant::now() < until,
                "never true: {expression}; {:?}",
                self.troubles
            );
            std::thread::sleep(Duration::from_millis(30));
        }
        Ok(())
    }

    /// Presses a key by its name (`Tab`, `ArrowRight`, …), with Ctrl held or not.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn press(&mut self, key: &str, control: bool) -> Result<()> {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            other => bail!("no key is named {other:?}"),
        };
        let mut event = json!({
            "type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code,
            "modifiers": if control { 2 } else { 0 },
        });
        if key == "Enter" {
            event["text"] = json!("\r");
        }
        self.call("Input.dispatchKeyEvent", event.clone())?;
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", event).map(drop)
    }

    /// Saves a picture of the whole page as PNG.
    ///
    /// # Errors
    /// When the browser refuses, or the file cannot be written.
    pub fn save(&mut self, path: &Path) -> Result<()> {
        let size = self.value("[innerWidth, document.documentElement.scrollHeight]")?;
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let ask = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let answer = self.call("Page.captureScreenshot", ask)?;
        let picture = decode(answer["data"].as_str().context("no picture")?);
        std::fs::write(path, picture).with_context(|| path.display().to_string())
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.commands.write_all(message.to_string().as_bytes())?;
        self.commands.write_all(&[0])?;
        self.commands.flush()?;
        loop {
            let mut answer = self
                .messages
                .recv_timeout(PATIENCE)
                .with_context(|| format!("{method}: no answer"))?;
            if answer["id"] == self.number {
                ensure!(
                    answer.get("error").is_none(),
                    "{method}: {}",
                    answer["error"]
                );
                return Ok(answer["result"].take());
            }
            self.note(&answer["method"], &answer["params"]);
        }
    }

    fn note(&mut self, method: &Value, params: &Value) {
        if method == "Runtime.exceptionThrown" {
            self.troubles.push(params["exceptionDetails"].to_string());
        }
        if method == "Log.entryAdded" && params["entry"]["level"] == "error" {
            self.troubles.push(params["entry"]["text"].to_string());
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.session = None;
        let _ = self.call("Browser.close", json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// The bytes of base 64 as browsers write it.
fn decode(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len() / 4 * 3), 0u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
