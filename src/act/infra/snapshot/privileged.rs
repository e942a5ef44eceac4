//! What an archive makes that only some roles may make: functions in languages that are not trusted, leakproof ones, ones with settings of
//! their own, and whatever lies in a tablespace.

use serde::Serialize;

/// One of these, as the server is asked about it.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Needs {
    Language(String, String),
    Leakproof(String),
    Setting(String, String),
    Tablespace(String),
}

/// The line of a table of contents that may need one of them.
pub(super) fn may_need(line: &str) -> bool {
    let mut words = line.split(' ').skip(3);
    match (words.next(), words.next()) {
        (Some("TABLE"), second) => !matches!(second, Some("DATA" | "ATTACH")),
        (Some("MATERIALIZED"), _) => !line.contains(" MATERIALIZED VIEW DATA "),
        (Some("FUNCTION" | "PROCEDURE" | "INDEX" | "CONSTRAINT"), _) => true,
        _ => false,
    }
}

/// Read from the statements that make it: a function says what it is between its first line and its body.
pub(super) fn needs(script: &str) -> Vec<Needs> {
    let mut all = Vec::new();
    let mut head: Option<String> = None;
    // A body ends where what it began with comes again.
    let mut body: Option<String> = None;
    for line in script.lines() {
        if let Some(mark) = &body {
            if line.contains(mark.as_str()) {
                body = None;
            }
            continue;
        }
        if let Some(name) = line.strip_prefix("CREATE FUNCTION ").or_else(|| line.strip_prefix("CREATE PROCEDURE ")) {
            head = name.split_once('(').map(|(name, _)| name.to_string());
        } else if let Some(tablespace) = line.strip_prefix("SET default_tablespace = ").and_then(|rest| rest.strip_suffix(';')) {
            all.extend((tablespace != "''").then(|| Needs::Tablespace(tablespace.replace('"', ""))));
        }
        let Some(name) = &head else { continue };
        if let Some(rest) = line.strip_prefix("    LANGUAGE ") {
            let mut words = rest.split(' ');
            all.extend(words.next().map(|language| Needs::Language(language.replace('"', ""), name.clone())));
            all.extend(words.any(|word| word == "LEAKPROOF").then(|| Needs::Leakproof(name.clone())));
        } else if let Some((setting, _)) = line.strip_prefix("    SET ").and_then(|rest| rest.split_once(" TO ")) {
            all.push(Needs::Setting(setting.replace('"', ""), name.clone()));
        } else if let Some(rest) = line.strip_prefix("    AS ") {
            let mark = rest.strip_prefix('$').and_then(|rest| rest.split_once('$')).map(|(tag, _)| format!("${tag}$;"));
            body = mark.filter(|mark| !line.ends_with(mark.as_str()));
            head = None;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_some_may_make_is_read_from_the_statements() {
        let script = "SET default_tablespace = '';\nCREATE FUNCTION public.low(internal) RETURNS void\n    LANGUAGE c STRICT LEAKPROOF\n    \
            AS '$libdir/x', 'low';\nCREATE FUNCTION app.calm(a integer) RETURNS integer\n    LANGUAGE plpgsql\n    SET log_statement TO 'none'\n    \
            SET search_path TO 'app'\n    AS $_$\nbegin\n    LANGUAGE c\nSET default_tablespace = not_this;\nreturn $1;\nend $_$;\n\
            SET default_tablespace = \"fast disk\";\nCREATE TABLE public.t (\n    id integer\n);\nCREATE PROCEDURE public.short()\n    LANGUAGE sql\n    \
            AS $$select 1$$;\n    LANGUAGE c\n";
        let text = str::to_string;
        assert_eq!(
            needs(script),
            [
                Needs::Language(text("c"), text("public.low")),
                Needs::Leakproof(text("public.low")),
                Needs::Language(text("plpgsql"), text("app.calm")),
                Needs::Setting(text("log_statement"), text("app.calm")),
                Needs::Setting(text("search_path"), text("app.calm")),
                Needs::Tablespace(text("fast disk")),
                Needs::Language(text("sql"), text("public.short")),
            ]
        );
    }

    #[test]
    fn what_has_no_statement_of_its_own_is_not_asked_for() {
        for (line, wanted) in [
            ("215; 1259 16387 TABLE public t me", true),
            ("3; 0 16387 TABLE DATA public t me", false),
            ("3; 0 0 TABLE ATTACH public t me", false),
            ("9; 1259 1 MATERIALIZED VIEW public m me", true),
            ("9; 0 1 MATERIALIZED VIEW DATA public m me", false),
            ("7; 1255 5 FUNCTION public f(integer) me", true),
            ("8; 0 0 ACL public TABLE t me", false),
            ("; Archive created at", false),
        ] {
            assert_eq!(may_need(line), wanted, "{line}");
        }
    }
}
