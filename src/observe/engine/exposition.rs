//! Exposition pages, read with prometheus-parse under guard. That crate stops labels at the first `}` and splits pairs
//! at every `,` and `=`, also inside quotes, without a word. So each line is re-spelled first (every character of a
//! quoted value or of a name that could mislead it becomes an escape of letters and digits) and spelled back afterwards,
//! and a sample line that does not come out again is an error with its line number, never silence.

use prometheus_parse::LineInfo;

use crate::base::clock::Stamp;
use crate::base::secret;

/// One sample as written on the page. Labels are sorted by name; the metric's name stands apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
    /// The page's own time, when it gave one: then it is the sample's.
    pub at: Option<Stamp>,
}

/// How a page is written, by its content type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format: times in milliseconds.
    #[default]
    Text,
    /// OpenMetrics: times in seconds, and an end that says so.
    OpenMetrics,
}

impl Format {
    pub fn of(content_type: Option<&str>) -> Format {
        match content_type.and_then(|text| text.split(';').next()).map(str::trim) {
            Some(text) if text.eq_ignore_ascii_case("application/openmetrics-text") => Format::OpenMetrics,
            _ => Format::Text,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub samples: Vec<Sample>,
    /// Sample lines that could not be read, the first few with their numbers and reasons.
    pub lost: usize,
    pub errors: Vec<ExpositionError>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {cause}: {text}")]
pub struct ExpositionError {
    pub line: usize,
    pub cause: &'static str,
    pub text: String,
}

/// How many lost lines are reported in words.
const REPORTED: usize = 5;

/// Reads a whole page. Every sample line either comes out as a sample or is counted as lost.
pub fn parse(text: &str, format: Format) -> Page {
    let mut page = Page::default();
    let (mut ended, mut last) = (false, 0);
    for (index, line) in text.lines().enumerate() {
        last = index + 1;
        let line = line.trim_matches(BLANK);
        ended |= line == "# EOF";
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if ended && format == Format::OpenMetrics {
            page.lose(last, "there is more behind the end of the page", line);
            continue;
        }
        match sample(line, format) {
            Ok(sample) => page.samples.push(sample),
            Err(cause) => page.lose(last, cause, line),
        }
    }
    if format == Format::OpenMetrics && !ended {
        page.lose(last, "the page is cut off", "there is no `# EOF`");
    }
    page
}

impl Page {
    fn lose(&mut self, line: usize, cause: &'static str, text: &str) {
        self.lost += 1;
        if self.errors.len() < REPORTED {
            let text = crate::base::text::fit(&secret::sanitize(text), 80).into_owned();
            self.errors.push(ExpositionError { line, cause, text });
        }
    }
}

fn sample(line: &str, format: Format) -> Result<Sample, &'static str> {
    let (spelled, behind) = respell(line)?;
    // A value, perhaps a point in time, and nothing else but an exemplar.
    if behind.chars().any(|c| !BLANK.contains(&c) && (c.is_whitespace() || c.is_control())) {
        return Err("a blank that is none");
    }
    let mut words = behind.split(BLANK).filter(|word| !word.is_empty()).skip(1);
    match (words.next(), words.next()) {
        (Some("#"), _) => {}
        (Some(first), _) if first.starts_with('#') => return Err("there is more behind the value"),
        (_, None | Some("#")) => {}
        _ => return Err("there is more behind the time stamp"),
    }
    let LineInfo::Sample { metric_name, labels, value, timestamp } = LineInfo::parse(&spelled) else {
        return Err("not a sample line");
    };
    let value = number(value).ok_or("the value is not a number")?;
    let at = match timestamp {
        None => None,
        Some(text) if text.starts_with('#') => None, // an exemplar follows
        Some(text) => Some(time(text, format).ok_or("the time stamp is not a number")?),
    };
    let mut pairs = Vec::new();
    for pair in labels.unwrap_or("").split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("a label without a value")?;
        pairs.push((restore(name)?, restore(value)?));
    }
    pairs.sort();
    Ok(Sample { name: restore(metric_name)?, labels: pairs, value, at })
}

/// The mark of an escape: a letter to the parser's `\w`, in no real metric name.
const MARK: char = 'ꓽ';

/// Writes a name or value with letters, digits and `_` only.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            out.push(byte as char);
        } else {
            out.push(MARK);
            out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
    }
}

fn restore(text: &str) -> Result<String, &'static str> {
    if !text.contains(MARK) {
        return Ok(text.to_string());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let hex = &rest[at + MARK.len_utf8()..];
        let byte = hex.get(..2).and_then(|h| u8::from_str_radix(h, 16).ok()).ok_or("a character that cannot be read")?;
        bytes.push(byte);
        rest = &hex[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map_err(|_| "text that is not UTF-8")
}

/// What stands between the parts of a line.
const BLANK: [char; 2] = [' ', '\t'];

/// Whether a name may stand without quotes.
fn is_plain(name: &str, colons: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || colons && c == ':';
    !name.is_empty() && name.chars().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The line with its name, label names and label values escaped, quotes gone, so that the parser cannot be misled; and what stands
/// behind them.
fn respell(line: &str) -> Result<(String, &str), &'static str> {
    let mut out = String::with_capacity(line.len() + 16);
    let head = line.find(['{', ' ', '\t']).ok_or("no value")?;
    let mut name = line[..head].to_string();
    if !name.is_empty() && !is_plain(&name, true) {
        return Err("no name of a metric");
    }
    let rest = line[head..].trim_start_matches(BLANK);
    let (pairs, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside, &mut name)?,
        None => (Vec::new(), rest),
    };
    if name.is_empty() {
        return Err("no metric name");
    }
    escape(&name, &mut out);
    if !pairs.is_empty() {
        out.push('{');
        for (i, (label, value)) in pairs.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            escape(label, &mut out);
            out.push('=');
            escape(value, &mut out);
        }
        out.push('}');
    }
    let behind = rest.trim_start_matches(BLANK);
    out.push(' ');
    out.push_str(behind);
    Ok((out, behind))
}

type Pairs = Vec<(String, String)>;

/// Reads `a="1",b="x,y"}`; a quoted string without `=` is the metric's name (as Prometheus 3 writes UTF-8 names).
fn labels<'a>(mut text: &'a str, name: &mut String) -> Result<(Pairs, &'a str), &'static str> {
    let mut pairs = Vec::new();
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix('}') {
            return Ok((pairs, rest));
        }
        if let Some(rest) = text.strip_prefix(',') {
            text = rest;
            continue;
        }
        let (key, rest) = if text.starts_with('"') {
            quoted(text)?
        } else {
            let end = text.find(['=', '}', ',']).ok_or("a label list that does not end")?;
            let key = text[..end].trim();
            if !key.is_empty() && !is_plain(key, false) {
                return Err("no name of a label");
            }
            (key.to_string(), &text[end..])
        };
        if key == "__name__" {
            return Err("a label that is the metric's name");
        }
        match rest.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, rest) = quoted(value.trim_start())?;
                if key.is_empty() {
                    return Err("a label without a name");
                }
                pairs.push((key, value));
                text = rest;
            }
            None if name.is_empty() && text.starts_with('"') => {
                *name = key;
                text = rest;
            }
            None => return Err("a label without a value"),
        }
    }
}

fn quoted(text: &str) -> Result<(String, &str), &'static str> {
    let inside = text.strip_prefix('"').ok_or("a label value without quotes")?;
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match (escaped, c) {
            (false, '"') => return Ok((value, &inside[at + 1..])),
            (false, '\\') => escaped = true,
            (true, 'n') => {
                value.push('\n');
                escaped = false;
            }
            (true, '\\' | '"') => {
                value.push(c);
                escaped = false;
            }
            (true, _) => {
                value.push('\\');
                value.push(c);
                escaped = false;
            }
            (false, _) => value.push(c),
        }
    }
    Err("a label value that does not end")
}

fn number(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "+inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        other => other.parse().ok(),
    }
}

/// Milliseconds (text format) or seconds (OpenMetrics, and whatever has a fraction).
fn time(text: &str, format: Format) -> Option<Stamp> {
    match text.parse::<i64>() {
        Ok(ms) if format == Format::Text => Some(Stamp(ms)),
        _ => text.parse::<f64>().ok().filter(|s| s.is_finite()).map(Stamp::from_seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Sample {
        let page = parse(line, Format::Text);
        assert_eq!(page.lost, 0, "{line}: {:?}", page.errors);
        page.samples.into_iter().next().expect("one sample")
    }

    fn label(line: &str, name: &str) -> String {
        one(line).labels.into_iter().find(|(n, _)| n == name).expect("the label").1
    }

    #[test]
    fn what_the_parser_alone_would_mangle() {
        assert_eq!(label(r#"http{path="/api/{id}",code="200"} 1"#, "path"), "/api/{id}");
        assert_eq!(label(r#"http{path="/x,y"} 1"#, "path"), "/x,y");
        assert_eq!(label(r#"http{q="a=b"} 1"#, "q"), "a=b");
        assert_eq!(label(r#"http{q="say \"hi\" \\ \n."} 1"#, "q"), "say \"hi\" \\ \n.");
        assert_eq!(label(r#"http{ a = "1" , b="2", } 1"#, "b"), "2");
        assert_eq!(label(r#"http{q=""} 1"#, "q"), "");
        assert_eq!(label("http{q=\"日本 ꓽ41\"} 1", "q"), "日本 ꓽ41");
        assert_eq!(one("job:http:rate5m 2").name, "job:http:rate5m");
        assert_eq!(one("plain{} 3").value, 3.0);
        assert_eq!(one("plain{le=\"+Inf\"} +Inf").value, f64::INFINITY);
        assert!(one("plain NaN").value.is_nan());
        assert_eq!(one(r#"{"my.metric","a.b"="c"} 1"#).name, "my.metric");
        assert_eq!(one("x 1 1700000000123").at, Some(Stamp(1_700_000_000_123)));
        assert_eq!(one("x 1 1700000000.5").at, Some(Stamp(1_700_000_000_500)));
        assert_eq!(one(r#"x_bucket{le="1"} 4 # {trace_id="a"} 0.6"#).value, 4.0);
        assert_eq!(parse("x 1 yesterday", Format::Text).lost, 1);
        let open = parse("queue{a=\"y\"} 500 1795000000\n# EOF\n", Format::OpenMetrics);
        assert_eq!((open.samples[0].at, open.lost), (Some(Stamp(1_795_000_000_000)), 0));
        let cut = parse("a 1\nb 2\n", Format::OpenMetrics);
        assert_eq!((cut.samples.len(), cut.errors[0].cause), (2, "the page is cut off"));
        assert_eq!(Format::of(Some("application/openmetrics-text; version=1.0.0; charset=utf-8")), Format::OpenMetrics);
        assert_eq!((Format::of(Some("text/plain; version=0.0.4")), Format::of(None)), (Format::Text, Format::Text));
    }

    #[test]
    fn buckets_keep_their_names_whatever_the_type_line_says() {
        let page = parse("# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"+Inf\"} 2\nx_sum 3\nx_count 2\n", Format::Text);
        let names: Vec<_> = page.samples.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["x_bucket", "x_bucket", "x_sum", "x_count"]);
    }

    #[test]
    fn nothing_is_lost_in_silence() {
        let page = parse("good 1\nbad{a=b} 1\nworse{a=\"b 1\nnovalue\nword x\n<html>\n", Format::Text);
        assert_eq!((page.samples.len(), page.lost), (1, 5));
        assert_eq!(page.errors[0].line, 2);
        assert_eq!(page.errors[0].cause, "a label value without quotes");
        // What a Prometheus takes its target down for.
        for line in ["a 1 1700000000123 900", "a-b 1", "1a 1", "a{b-c=\"1\"} 1", "a{__name__=\"b\"} 1", "a\u{a0}1", "a 1 \r\r", "a 1 #x"] {
            assert_eq!(parse(line, Format::Text).lost, 1, "{line}");
        }
    }
}
