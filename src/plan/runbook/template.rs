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
pub struct TemplateNames(pub BTreeSet<String>);

impl TemplateNames {
    /// Whether only a run can know the values.
    pub fn is_late(&self) -> bool {
        self.0.iter().any(|name| LATE.contains(&name.split('.').next().unwrap_or("")))
    }

    /// The inputs among them.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|name| name.strip_prefix("inputs.")).map(|name| name.split('.').next().unwrap_or(name))
    }
}

fn words(error: &minijinja::Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_string);
    detail.trim_end_matches('.').to_string()
}

/// # Errors
/// What is wrong with the template's own text.
pub fn uses(text: &str) -> Result<TemplateNames, String> {
    let engine = engine();
    let template = engine.template_from_str(text).map_err(|e| words(&e))?;
    Ok(TemplateNames(template.undeclared_variables(true).into_iter().collect()))
}

/// # Errors
/// What is wrong with the expression's own text.
pub fn uses_of_expression(text: &str) -> Result<TemplateNames, String> {
    let engine = engine();
    let expression = engine.compile_expression(text).map_err(|e| words(&e))?;
    Ok(TemplateNames(expression.undeclared_variables(true).into_iter().collect()))
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

/// The value of a text that is one expression and nothing else, in its own type; of any other, the text it makes.
///
/// # Errors
/// What is undefined, or wrong.
pub fn render_value(text: &str, context: &Json) -> Result<Json, String> {
    let inside = text.trim().strip_prefix("{{").and_then(|t| t.strip_suffix("}}")).filter(|t| !t.contains("{{") && !t.contains("}}"));
    let Some(expression) = inside else { return render(text, context).map(Json::String) };
    let engine = engine();
    let expression = engine.compile_expression(expression.trim()).map_err(|e| words(&e))?;
    let value = expression.eval(Value::from(Serde(context))).map_err(|e| words(&e))?;
    if value.is_undefined() {
        return Err(format!("`{}` uses something that is not defined", text.trim()));
    }
    serde_json::to_value(&value).map_err(|e| e.to_string())
}

/// Turns a text with templates into what it comes to; told whether the value may keep its own type.
pub type Renderer<'a> = dyn FnMut(&str, bool) -> Result<Json, String> + 'a;

/// Fills in templates field by field: which fields there are, each kind of step knows of itself.
pub struct Fill<'a> {
    render: &'a mut Renderer<'a>,
    /// What could not be filled in, and why.
    pub problems: Vec<String>,
}

impl<'a> Fill<'a> {
    pub fn new(render: &'a mut Renderer<'a>) -> Fill<'a> {
        Fill { render, problems: Vec::new() }
    }

    fn one(&mut self, text: &str, typed: bool) -> Option<Json> {
        if !is_template(text) {
            return None;
        }
        (self.render)(text, typed).map_err(|e| self.problems.push(e)).ok()
    }

    pub fn text(&mut self, text: &mut String) {
        match self.one(text, false) {
            Some(Json::String(made)) => *text = made,
            Some(other) => *text = other.to_string(),
            None => {}
        }
    }

    pub fn texts(&mut self, texts: &mut [String]) {
        texts.iter_mut().for_each(|text| self.text(text));
    }

    pub fn pairs(&mut self, pairs: &mut [(String, String)]) {
        for (name, value) in pairs {
            self.text(name);
            self.text(value);
        }
    }

    /// A document: what is one expression and nothing else keeps its own type.
    pub fn value(&mut self, value: &mut Json) {
        match value {
            Json::String(text) => {
                if let Some(made) = self.one(text, true) {
                    *value = made;
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Json::Object(map) => map.values_mut().for_each(|item| self.value(item)),
            _ => {}
        }
    }
}

/// Renders with what is known, for [`Fill`].
///
/// # Errors
/// What is undefined, or wrong.
pub fn render_with(context: &Json, text: &str, typed: bool) -> Result<Json, String> {
    if typed { render_value(text, context) } else { render(text, context).map(Json::String) }
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
        let context = json!({"inputs": {"version": "v1"}, "n": 10.5});
        let mut render = |text: &str, typed: bool| render_with(&context, text, typed);
        let mut fill = Fill::new(&mut render);
        let (mut path, mut body) = ("/{{ inputs.version }}".to_string(), json!({"n": "{{ n }}", "t": ["n is {{ n }}"]}));
        fill.text(&mut path);
        fill.value(&mut body);
        fill.text(&mut "{{ nothing }}".to_string());
        assert_eq!((path.as_str(), body, fill.problems.len()), ("/v1", json!({"n": 10.5, "t": ["n is 10.5"]}), 1));
        assert!(uses("{{ steps.check.output }}").expect("sound").is_late());
        assert_eq!(uses("{{ inputs.a }}").expect("sound").0.into_iter().collect::<Vec<_>>(), ["inputs.a"]);
        assert!(uses("{{ inputs.a ").is_err());
        assert!(uses_of_expression("a ==").is_err());
    }
}
