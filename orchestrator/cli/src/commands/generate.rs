//! `csd generate`: one text, written where it can be watched.

use std::{
    io::{Read, stdin},
    path::PathBuf,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use csd_orchestrator::{
    Text,
    template::{Message, Template},
};
use serde_json::{Value, json};

use crate::{
    client::Client,
    completion::Completion,
    door,
    interrupt::{Interrupt, Interrupted},
    local::{self, Local, Overrides},
    screen::{Progress, Screen},
};

/// Write on from a prompt, each level in its own colour.
///
/// Without --url the cascade is started for this one text, as `csd up` starts it, and stopped afterwards.
/// The text goes to stdout, everything else to stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  csd generate \"fn main() {\"
  csd generate --chat \"Tom has 3 apples and buys 4 more. How many has he?\"
  csd generate --plan off --temperature 0.7 --seed 1 \"impl Iterator for\"
  csd generate --plan '[[8,0,4],[0,4,0],[0,0,4]]' --json - < prompt.txt
  csd generate --url http://127.0.0.1:8080 \"struct Point {\"")]
pub(crate) struct Args {
    /// What to continue; - reads it from stdin.
    prompt: String,
    /// Use the cascade that runs there instead of starting one.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The cascade file to start, and whose chat template --chat uses [default: the bundled config/tiny.toml].
    #[arg(long, value_name = "CASCADE.toml")]
    cascade: Option<PathBuf>,
    /// Who drafts: off (the target alone), auto, a preset's name, a matrix K, or {"k": …, "lenience": …} [default: the file's plan].
    #[arg(long, value_name = "PLAN", value_parser = plan)]
    plan: Option<Value>,
    /// Tokens to write at most.
    #[arg(long, default_value_t = 128, value_name = "N")]
    max_tokens: u32,
    /// 0 always takes the likeliest token.
    #[arg(
        long,
        default_value_t = 0.0,
        value_name = "T",
        allow_negative_numbers = true
    )]
    temperature: f64,
    /// Draw from the likeliest tokens that together have this probability.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Makes the text repeatable above temperature 0.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// End the text before this string; may be given several times.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// How drafts are reviewed: coupled (default) or rejection.
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// The prompt is what a user says: put it through the model's chat template.
    #[arg(long)]
    chat: bool,
    /// Write on after the model's end token.
    #[arg(long)]
    ignore_eos: bool,
    /// Print one JSON object with text, token_ids, finish_reason, tokens_per_second, cascade.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// Writes the text.
pub(crate) async fn run(args: Args) -> Result<()> {
    // Before signals are caught: Ctrl-C ends a wait for stdin.
    let prompt = args.prompt()?;
    let mut interrupt = Interrupt::catch()?;
    let _seen = local::see(true)?;
    let Some(url) = &args.url else {
        return args.alone(prompt, &mut interrupt).await;
    };
    let mut client = Client::new(url)?;
    if let Some(key) = door::first_key() {
        client = client.with_key(&key)?;
    }
    tokio::select! {
        written = args.write(&client, prompt) => written,
        () = interrupt.next() => Err(Interrupted.into()),
    }
}

impl Args {
    /// Starts a cascade for this one text, and ends it afterwards, however it goes.
    async fn alone(&self, prompt: String, interrupt: &mut Interrupt) -> Result<()> {
        let cascade = self
            .overrides
            .apply(local::cascade(self.cascade.as_deref())?);
        let progress = Progress::levels(cascade.levels.len());
        let listener = local::bind("127.0.0.1:0").await?;
        let mut local = Local::start(cascade, self.cascade.as_deref(), &self.overrides, listener)?;
        let work = async {
            local
                .ready(|worker| {
                    progress.ready(worker);
                    Ok(())
                })
                .await?;
            progress.done();
            self.write(&Client::new(&local.url)?, prompt).await
        };
        let written = tokio::select! {
            written = work => written,
            () = interrupt.next() => Err(Interrupted.into()),
        };
        progress.done();
        // Who asks twice does not want to wait; what is left is killed then.
        tokio::select! {
            () = local.stop() => {}
            () = interrupt.next() => {}
        }
        written
    }

    /// Asks for the text and shows it as it comes.
    async fn write(&self, client: &Client, prompt: String) -> Result<()> {
        let mut screen = Screen::new(self.json, client.levels().await?);
        if !self.chat {
            screen.prompt(&prompt)?;
        }
        let mut completion = Completion::default();
        let asked = Instant::now();
        let mut stream = client
            .stream("/v1/completions", &self.request(prompt))
            .await?;
        let mut last = asked;
        loop {
            match stream.next().await?.as_deref() {
                None => bail!("the server broke off in the middle of the text"),
                Some("[DONE]") => break,
                Some(data) => {
                    let before = completion.token_ids.len();
                    let pieces = completion.push(data)?;
                    if completion.token_ids.len() > before {
                        last = Instant::now();
                    }
                    screen.show(&pieces)?;
                }
            }
        }
        completion.complete(last - asked);
        screen.finish(&completion, last - asked)
    }

    /// The prompt as the model is to read it.
    fn prompt(&self) -> Result<String> {
        let mut prompt = self.prompt.clone();
        if prompt == "-" {
            prompt.clear();
            stdin()
                .read_to_string(&mut prompt)
                .context("cannot read the prompt from stdin")?;
        }
        if !self.chat {
            return Ok(prompt);
        }
        let cascade = self
            .overrides
            .apply(local::cascade(self.cascade.as_deref())?);
        let folder = Text::folder(&cascade)?;
        let message = Message {
            role: "user".into(),
            content: prompt,
        };
        Ok(Template::load(&folder)?.render(&[message])?)
    }

    /// The body of the request.
    fn request(&self, prompt: String) -> Value {
        let mut body = json!({
            "prompt": prompt,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "ignore_eos": self.ignore_eos,
            "stream": true,
            "return_token_ids": true,
        });
        let mut set = |field: &str, value: Option<Value>| {
            if let Some(value) = value {
                body[field] = value;
            }
        };
        set("top_p", self.top_p.map(Value::from));
        set("seed", self.seed.map(Value::from));
        set("rule", self.rule.clone().map(Value::from));
        set("cascade", self.plan.clone());
        set(
            "stop",
            (!self.stop.is_empty()).then(|| self.stop.clone().into()),
        );
        body
    }
}

/// A plan as the API takes it: a name, or an object; a bare matrix becomes one.
pub(super) fn plan(text: &str) -> Result<Value, String> {
    if !text.starts_with(['{', '[']) {
        return Ok(text.into());
    }
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(if value.is_array() {
        json!({"k": value})
    } else {
        value
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_names_matrices_or_objects() {
        assert_eq!(plan("off"), Ok(json!("off")));
        assert_eq!(plan("[[1]]"), Ok(json!({"k": [[1]]})));
        let object = r#"{"k":[[1]],"lenience":2}"#;
        assert_eq!(plan(object), Ok(json!({"k": [[1]], "lenience": 2})));
        assert!(plan("[[1").is_err());
    }
}
