//! Chat templates: how a conversation becomes the text that a model was trained on.
//!
//! Models bring theirs as a Jinja file. The environment is that of Hugging Face transformers, so that the same file gives
//! the same text.

use std::path::{Path, PathBuf};

use minijinja::{
    Environment, Error, ErrorKind, Value, context, syntax::SyntaxConfig, value::Serde,
};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use serde_json::Value as Json;

use crate::date;

const NAME: &str = "chat";

/// Instructions that one template may execute: far above any honest one, so that a hostile one ends.
const FUEL: u64 = 10_000_000;

/// Why there is no template, or no text from it.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The model's folder has none.
    #[error("{} has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json)", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The template is wrong, or refuses this conversation.
    #[error("the chat template refuses: {0}")]
    Refused(String),
}

/// One utterance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who speaks: system, user, assistant.
    pub role: String,
    /// What.
    pub content: String,
}

/// A model's chat template.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

impl Template {
    /// Loads the template of a model's folder: `chat_template.jinja`, else the key of `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`TemplateError`], naming file or folder.
    pub fn load(folder: &Path) -> Result<Self, TemplateError> {
        let config = match read(&folder.join("tokenizer_config.json"))? {
            Some(text) => {
                serde_json::from_str(&text).map_err(|error| TemplateError::Unreadable {
                    path: folder.join("tokenizer_config.json"),
                    reason: error.to_string(),
                })?
            }
            None => Json::Null,
        };
        let source = match read(&folder.join("chat_template.jinja"))? {
            Some(source) => source,
            None => in_config(&config).ok_or_else(|| TemplateError::Missing {
                folder: folder.to_owned(),
            })?,
        };
        Self::new(
            source,
            special(&config, "bos_token"),
            special(&config, "eos_token"),
        )
    }

    /// A template from its source.
    ///
    /// # Errors
    /// [`TemplateError::Refused`] for a syntax error.
    pub fn new(
        source: String,
        bos_token: String,
        eos_token: String,
    ) -> Result<Self, TemplateError> {
        let refused = |error: Error| TemplateError::Refused(whole(&error));
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(refused)?;
        let mut environment = Environment::new();
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_filter("tojson", to_json);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment
            .add_template_owned(NAME, source)
            .map_err(refused)?;
        Ok(Self {
            environment,
            bos_token,
            eos_token,
        })
    }

    /// The text of a conversation, up to where the assistant speaks next.
    ///
    /// # Errors
    /// [`TemplateError::Refused`], with what the template says.
    pub fn render(&self, messages: &[Message]) -> Result<String, TemplateError> {
        let refused = |error: Error| TemplateError::Refused(whole(&error));
        let template = self.environment.get_template(NAME).map_err(refused)?;
        let values = context! {
            messages => Serde(messages),
            add_generation_prompt => true,
            bos_token => self.bos_token.as_str(),
            eos_token => self.eos_token.as_str(),
        };
        template.render(values).map_err(refused)
    }
}

/// An error with its causes.
fn whole(error: &Error) -> String {
    let detail = error.detail().unwrap_or_default();
    match error.line() {
        Some(line) => format!("{}: {detail} (line {line})", error.kind()),
        None => format!("{}: {detail}", error.kind()),
    }
}

fn read(path: &Path) -> Result<Option<String>, TemplateError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TemplateError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}

/// The template in a tokenizer's configuration: one text, or a list of named ones, of which "default" is meant.
fn in_config(config: &Json) -> Option<String> {
    let template = config.get("chat_template")?;
    let text = match template {
        Json::Array(named) => named
            .iter()
            .find(|entry| entry["name"] == "default")?
            .get("template")?,
        other => other,
    };
    text.as_str().map(str::to_owned)
}

/// A special token of a tokenizer's configuration: a text, or an object with one.
fn special(config: &Json, key: &str) -> String {
    let token = &config[key];
    let text = token.as_str().or_else(|| token["content"].as_str());
    text.unwrap_or_default().to_owned()
}

/// JSON as Python writes it by default: spaces after `,` and `:`, nothing escaped for HTML.
fn to_json(value: Value) -> Result<String, Error> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Spaced);
    value
        .serialize(&mut serializer)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    String::from_utf8(out)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: String) -> String {
    date::format(&format, std::time::SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, content: &str) -> Message {
        Message {
            role: role.into(),
            content: content.into(),
        }
    }

    fn template(source: &str) -> Template {
        Template::new(source.into(), "<s>".into(), "</s>".into()).expect("parses")
    }

    #[test]
    fn the_bundled_template_gives_the_form_the_family_was_trained_on() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny/target");
        let template = Template::load(&folder).expect("loads");
        let text = template
            .render(&[message("user", "2 + 2?")])
            .expect("renders");
        assert_eq!(text, "<|user|>\n2 + 2?\n<|assistant|>\n");
    }

    #[test]
    fn templates_find_what_transformers_offers_them() {
        let source = "{{ bos_token }}{% for m in messages %}\n  {% if loop.first %}\n{{ m.content.strip() | upper }}\
            {% continue %}\n  {% endif %}\n{{ m | tojson }}{% endfor %}{{ strftime_now('%Y') | length }}";
        let text = template(source)
            .render(&[message("user", " a "), message("assistant", "<b> 'ü'")])
            .expect("renders");
        assert_eq!(
            text,
            "<s>A{\"role\": \"assistant\", \"content\": \"<b> 'ü'\"}4"
        );
    }

    #[test]
    fn a_template_may_refuse_in_its_own_words_and_cannot_run_for_ever() {
        let refuses = template("{{ raise_exception('roles must alternate') }}");
        let error = refuses.render(&[]).expect_err("refuses").to_string();
        assert!(error.contains("roles must alternate"), "{error}");
        let endless = template(
            "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}",
        );
        assert!(endless.render(&[]).is_err());
        let broken = Template::new("{% for %}".into(), String::new(), String::new());
        assert!(broken.expect_err("syntax").to_string().contains("line 1"));
    }

    #[test]
    fn a_folder_without_a_template_is_named() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let error = Template::load(&folder).expect_err("none").to_string();
        assert!(
            error.contains("src") && error.contains("chat template"),
            "{error}"
        );
    }

    #[test]
    fn a_list_of_named_templates_offers_its_default() {
        let config = serde_json::json!({"chat_template": [
            {"name": "tool_use", "template": "x"}, {"name": "default", "template": "y"}]});
        assert_eq!(in_config(&config), Some("y".into()));
    }
}
