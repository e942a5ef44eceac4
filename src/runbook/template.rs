//! Templates and expressions: minijinja with everything undefined an error, and no way out to files.

use std::collections::BTreeSet;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde_json::Value as Json;

/// What a template may begin with, and what only a run knows.
pub const ROOTS: [&str; 6] = ["inputs", "environment", "vars", "operator", "steps", "run"];
const LATE: [&str; 2] = ["steps", "run"];

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    // These are commands and messages, not web pages.
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.add_filter("quote", |text: String| shell_quoted(&text));
    engine
}

/// The text as one word of a shell.
pub fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Whether there is anything to fill in.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// The names a template or expression uses, as `inputs.version`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Uses(pub BTreeSet<String>);

impl Uses {
    /// Whether only a run can know the values.
    pub fn is_late(&self) -> bool {
        self.0.iter().any(|name| LATE.contains(&name.split('.').next().unwrap_or("")))
    }
}

fn words(error: &minijinja::Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_string);
    detail.trim_end_matches('.').to_string()
}

/// # Errors
/// What is wrong with the template's own text.
pub fn uses(text: &str) -> Result<Uses, String> {
    let engine = engine();
    let template = engine.template_from_str(text).map_err(|e| words(&e))?;
    Ok(Uses(template.undeclared_variables(true).into_iter().collect()))
}

/// # Errors
/// What is wrong with the expression's own text.
pub fn uses_of_expression(text: &str) -> Result<Uses, String> {
    let engine = engine();
    let expression = engine.compile_expression(text).map_err(|e| words(&e))?;
    Ok(Uses(expression.undeclared_variables(true).into_iter().collect()))
}

/// # Errors
/// What is undefined, or wrong.
pub fn render(text: &str, context: &Json) -> Result<String, String> {
    if !is_template(text) {
        return Ok(text.to_string());
    }
    let engine = engine();
    let template = engine.template_from_str(text).map_err(|e| words(&e))?;
    template.render(Value::from(Serde(context))).map_err(|e| match e.kind() {
        minijinja::ErrorKind::UndefinedError => format!("`{}` uses something that is not defined", text.trim()),
        _ => words(&e),
    })
}

/// Whether an expression is true.
///
/// # Errors
/// What is undefined, or wrong.
pub fn holds(text: &str, context: &Json) -> Result<bool, String> {
    let engine = engine();
    let expression = engine.compile_expression(text).map_err(|e| words(&e))?;
    let value = expression.eval(Value::from(Serde(context))).map_err(|e| words(&e))?;
    if value.is_undefined() {
        return Err(format!("`{text}` uses something that is not defined"));
    }
    Ok(value.is_true())
}

/// Renders every text in a tree; what it says about itself (`type`, names of fields) has no templates.
///
/// # Errors
/// The first text that cannot be rendered.
pub fn render_tree(tree: &mut Json, render: &mut dyn FnMut(&str) -> Result<String, String>) -> Result<(), String> {
    match tree {
        Json::String(text) if is_template(text) => *text = render(text)?,
        Json::Array(items) => items.iter_mut().try_for_each(|item| render_tree(item, render))?,
        Json::Object(map) => {
            for (key, value) in map.iter_mut() {
                // A script's text reaches the shell as it stands.
                if key != "inline" {
                    render_tree(value, render)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn undefined_is_an_error_and_not_an_empty_text() {
        let context = json!({"inputs": {"version": "v1.4.2", "evil": "'; rm -rf / #"}});
        assert_eq!(render("to {{ inputs.version }}", &context), Ok("to v1.4.2".into()));
        assert!(render("to {{ inputs.verson }}", &context).is_err());
        assert!(render("to {{ nothing.at.all }}", &context).is_err());
        assert_eq!(render("echo {{ inputs.evil | quote }}", &context), Ok("echo ''\\''; rm -rf / #'".into()));
        assert_eq!(holds("inputs.version == 'v1.4.2'", &context), Ok(true));
        assert!(holds("inputs.missing", &context).is_err());
        assert!(uses("{{ steps.check.output }}").expect("sound").is_late());
        assert_eq!(uses("{{ inputs.a }}").expect("sound").0.into_iter().collect::<Vec<_>>(), ["inputs.a"]);
        assert!(uses("{{ inputs.a ").is_err());
        assert!(uses_of_expression("a ==").is_err());
    }
}
