//! How versions of the application are brought out, from `[release]`.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Deserialize;
use toml::Spanned;

use crate::base::diag::suggestion;
use crate::base::endpoint::Endpoint;
use crate::config::model::{SourceConfig, SourceKind};
use crate::config::resolver::Resolver;
use crate::config::shape::SpannedText;
use crate::plan::runbook::{Deploy, LastGreenFrom, Release};

const WITHIN: Duration = Duration::from_secs(300);
const TIMEOUT: Duration = Duration::from_secs(10);

/// How versions of the application are brought out and read, and which was green last.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseShape {
    pub within: Option<SpannedText>,
    pub timeout: Option<SpannedText>,
    /// by programs
    pub deploy: Option<Spanned<Vec<String>>>,
    pub running: Option<Spanned<Vec<String>>>,
    /// by requests
    pub service: Option<SpannedText>,
    pub method: Option<SpannedText>,
    pub path: Option<SpannedText>,
    pub body: Option<SpannedText>,
    pub read: Option<SpannedText>,
    pub pointer: Option<SpannedText>,
    /// which was green last: a program, or a query of a database source; without either, by the runs on record
    pub last_green: Option<Spanned<Vec<String>>>,
    pub query: Option<SpannedText>,
    pub source: Option<SpannedText>,
}

impl Resolver<'_> {
    pub(super) fn release(
        &mut self,
        shape: &ReleaseShape,
        span: &Range<usize>,
        services: &IndexMap<String, Endpoint>,
        sources: &IndexMap<Arc<str>, SourceConfig>,
    ) -> Option<Release> {
        let deploy = match (&shape.deploy, &shape.service) {
            (Some(deploy), None) => self.by_programs(shape, deploy, span),
            (None, Some(service)) => self.by_requests(shape, service, span, services),
            (Some(deploy), Some(_)) => {
                self.findings.error(deploy.span(), "a version is brought out by programs or by requests, not by both", None);
                None
            }
            (None, None) => {
                let hint = "write deploy = [\"./deploy\", \"{{ version }}\"] and running = [\"./running\"], or service, path and pointer";
                self.findings.error(span.clone(), "nothing says how a version is brought out", Some(hint.into()));
                None
            }
        };
        let last_green = self.last_green(shape, span, sources);
        let within = match &shape.within {
            Some(text) => self.duration(text)?,
            None => WITHIN,
        };
        let release = Release { deploy: deploy?, within, timeout: self.interval(shape.timeout.as_ref(), TIMEOUT), last_green: last_green? };
        let texts = [&shape.path, &shape.body].into_iter().flatten().map(|text| (text.get_ref().clone(), text.span()));
        let words = shape.deploy.iter().flat_map(|list| list.get_ref().iter().map(|word| (word.clone(), list.span())));
        for (template, at) in texts.chain(words).collect::<Vec<_>>() {
            if let Err(e) = Release::render(&template, "v1") {
                let hint = "a template knows version, as {{ version }}";
                self.findings.error(at, format!("`{}`: {e}", template.trim()), Some(hint.into()));
            }
        }
        Some(release)
    }

    fn by_programs(&mut self, shape: &ReleaseShape, deploy: &Spanned<Vec<String>>, span: &Range<usize>) -> Option<Deploy> {
        for (name, text) in
            [("path", &shape.path), ("body", &shape.body), ("pointer", &shape.pointer), ("read", &shape.read), ("method", &shape.method)]
        {
            if let Some(text) = text {
                self.findings.error(text.span(), format!("a release by programs has no `{name}`"), None);
            }
        }
        let Some(running) = shape.running.as_ref().filter(|running| !running.get_ref().is_empty()) else {
            let hint = "write running = [\"./running\"], a program that prints the version that runs";
            self.findings.error(span.clone(), "nothing says which version runs", Some(hint.into()));
            return None;
        };
        Some(Deploy::Command { deploy: self.beside(deploy.get_ref().clone()), running: self.beside(running.get_ref().clone()) })
    }

    fn by_requests(
        &mut self,
        shape: &ReleaseShape,
        service: &SpannedText,
        span: &Range<usize>,
        services: &IndexMap<String, Endpoint>,
    ) -> Option<Deploy> {
        if let Some(running) = &shape.running {
            let hint = "`read` and `pointer` say which version runs";
            self.findings.error(running.span(), "a release by requests has no `running`", Some(hint.into()));
        }
        let endpoint = services.get(service.get_ref()).cloned();
        if endpoint.is_none() {
            let hint = suggestion(service.get_ref(), services.keys().map(String::as_str));
            self.findings.error(service.span(), format!("there is no service `{}`", service.get_ref()), hint);
        }
        let mut wanted = |text: &Option<SpannedText>, field: &str, example: &str| {
            if text.is_none() {
                self.findings.error(span.clone(), format!("the release has no `{field}`"), Some(format!("write {field} = {example}")));
            }
            text.as_ref().map(|text| text.get_ref().clone())
        };
        let path = wanted(&shape.path, "path", "\"/deploy\"");
        let body = wanted(&shape.body, "body", "'{\"version\": \"{{ version }}\"}'");
        let read = wanted(&shape.read, "read", "\"/healthz\"");
        let pointer = wanted(&shape.pointer, "pointer", "\"/version\"");
        let method = shape.method.as_ref().map_or_else(|| "POST".into(), |method| method.get_ref().clone());
        let known = ["POST", "PUT", "PATCH"];
        if let Some(wrong) = shape.method.as_ref().filter(|method| !known.contains(&method.get_ref().as_str())) {
            let hint = suggestion(wrong.get_ref(), known);
            self.findings.error(wrong.span(), format!("a version is not brought out by `{}`", wrong.get_ref()), hint);
        }
        if let Some(wrong) = shape.pointer.as_ref().filter(|pointer| !pointer.get_ref().starts_with('/')) {
            let hint = Some(format!("write pointer = \"/{}\"", wrong.get_ref()));
            self.findings.error(wrong.span(), format!("`{}` is no JSON pointer", wrong.get_ref()), hint);
        }
        Some(Deploy::Http { endpoint: Box::new(endpoint?), method, path: path?, body: body?, read: read?, pointer: pointer? })
    }

    fn last_green(
        &mut self,
        shape: &ReleaseShape,
        span: &Range<usize>,
        sources: &IndexMap<Arc<str>, SourceConfig>,
    ) -> Option<LastGreenFrom> {
        match (&shape.last_green, &shape.query, &shape.source) {
            (None, None, None) => Some(LastGreenFrom::Journal),
            (Some(argv), None, None) if !argv.get_ref().is_empty() => Some(LastGreenFrom::Command(self.beside(argv.get_ref().clone()))),
            (None, Some(query), Some(source)) => {
                let is_database = |name: &str| sources.get(name).is_some_and(|s| matches!(s.kind, SourceKind::Database { .. }));
                if !is_database(source.get_ref()) {
                    let databases = sources.keys().filter(|name| is_database(name)).map(AsRef::as_ref);
                    let hint = suggestion(source.get_ref(), databases);
                    self.findings.error(source.span(), format!("there is no database source `{}`", source.get_ref()), hint);
                    return None;
                }
                Some(LastGreenFrom::Query { source: source.get_ref().clone(), query: query.get_ref().clone() })
            }
            _ => {
                let hint = "write last_green = [\"./last-green\"], or query and source, or none of them: then it is looked for on record";
                self.findings.error(span.clone(), "which version was green last is said in two ways, or in half a way", Some(hint.into()));
                None
            }
        }
    }
}

/// What a version is brought out to.
pub(super) fn reached(release: &Release) -> (String, String) {
    (format!("release {}", release.place()), release.place())
}
