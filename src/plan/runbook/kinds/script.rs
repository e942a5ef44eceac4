//! `script`: commands in a process group of their own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::common::{plain_pairs, secret_pairs};
use super::{Misfit, Names, StepKind};
use crate::base::secret::SecretRef;
use crate::base::yaml::{Fields, Reader, Text};
use crate::plan::runbook::template::{self, Fill};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// The text itself; never templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
    /// Or a file, beside the runbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Of the file, at planning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Without one the shebang line decides, or `sh -eu`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interpreter: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<(String, SecretRef)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    pub mutates: bool,
}

impl StepKind for Script {
    fn read(r: &mut Reader, f: &mut Fields) -> Option<Script> {
        let inline = f.text(r, "script");
        let file = f.text(r, "file");
        match (&inline, &file) {
            (None, None) => {
                r.error(f.at, "a script step has a `script` or a `file`", Some("write script: | and below it the commands".into()))
            }
            (Some(text), Some(_)) => r.error(text.at, "this has a `script` and a `file`", Some("write one of them".into())),
            (Some(text), None) => spliced(r, text),
            (None, Some(_)) => {}
        }
        let interpreter = match f.node("interpreter") {
            Some((node, _)) => match r.items(node).as_slice() {
                [one] => r.text_of(one, "interpreter").map(|t| t.text.split_whitespace().map(str::to_string).collect()).unwrap_or_default(),
                many => many.iter().filter_map(|n| r.text_of(n, "interpreter")).map(|t| t.text).collect(),
            },
            None => Vec::new(),
        };
        if let Some(word) = interpreter.iter().find(|word| template::is_template(word)) {
            let hint = "hand values over as args: or env:, which nothing reads as code";
            r.error(r.lines.find(f.at, word), "a value in `interpreter` could be read as code", Some(hint.into()));
        }
        Some(Script {
            inline: inline.map(|t| t.text),
            file: file.map(|t| t.text),
            sha256: None,
            interpreter,
            args: f.strings(r, "args"),
            env: plain_pairs(r, f, "env"),
            secrets: secret_pairs(r, f, "secrets"),
            cwd: f.string(r, "cwd"),
            mutates: f.flag(r, "mutates").unwrap_or(true),
        })
    }

    fn describe(&self) -> String {
        let with = if self.interpreter.is_empty() { String::new() } else { format!("{} ", self.interpreter.join(" ")) };
        let args = if self.args.is_empty() { String::new() } else { format!(" {}", self.args.join(" ")) };
        match (&self.file, &self.inline) {
            (Some(file), _) => format!("script {with}{file}{args}"),
            (None, Some(text)) => {
                let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
                match lines.as_slice() {
                    [] => "script (empty)".into(),
                    [one] => format!("script {with}{one}{args}"),
                    [first, rest @ ..] => format!("script {with}{first} … ({} more lines){args}", rest.len()),
                }
            }
            (None, None) => "script".into(),
        }
    }

    fn in_full(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.inline.iter().flat_map(|text| text.lines()).map(|line| format!("| {line}")).collect();
        lines.extend(self.sha256.iter().map(|sum| format!("sha256 {sum}")));
        lines.extend(self.cwd.iter().map(|cwd| format!("in {cwd}")));
        lines.extend(self.env.iter().map(|(name, value)| format!("with {name}={value}")));
        lines.extend(self.secrets.iter().map(|(name, reference)| format!("with {name} from {reference}")));
        lines
    }

    fn mutates(&self) -> bool {
        self.mutates
    }

    fn default_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(300))
    }

    /// The text itself reaches the shell as it stands.
    fn fill(&mut self, fill: &mut Fill) {
        self.file.iter_mut().for_each(|file| fill.text(file));
        fill.texts(&mut self.interpreter);
        fill.texts(&mut self.args);
        fill.pairs(&mut self.env);
        self.cwd.iter_mut().for_each(|cwd| fill.text(cwd));
    }

    fn resolve(&mut self, names: &mut dyn Names) {
        if let Some(file) = &self.file
            && let Some((path, sum)) = names.file(file)
        {
            (self.file, self.sha256) = (Some(path), sum);
        }
    }

    fn secrets(&self) -> Vec<&SecretRef> {
        self.secrets.iter().map(|(_, reference)| reference).collect()
    }

    fn secrets_mut(&mut self) -> Vec<&mut SecretRef> {
        self.secrets.iter_mut().map(|(_, reference)| reference).collect()
    }

    fn file(&self) -> Option<(&str, &str)> {
        Some((self.file.as_deref()?, self.sha256.as_deref()?))
    }

    fn as_probe(&self) -> Result<(), Misfit> {
        Ok(())
    }
}

/// A value in a script's text would be read by the shell as code.
pub fn spliced(r: &mut Reader, text: &Text) {
    // Other programs have templates of their own, as `docker inspect -f '{{.State}}'`.
    let ours = format!(r"\{{[{{%]-?\s*(?:[^}}]*[^}}.\w])?({})\s*[.\[]", template::ROOTS.join("|"));
    let Some(found) = regex::Regex::new(&ours).ok().and_then(|ours| ours.captures(&text.text)?.get(1).map(|m| m.as_str())) else { return };
    let hint = format!("write env: with NAME: \"{{{{ {found}.… }}}}\" and use \"$NAME\" in the script");
    r.error(text.at, format!("`{{{{ {found}.… }}}}` stands in a script's text, where the shell would run it"), Some(hint));
}
