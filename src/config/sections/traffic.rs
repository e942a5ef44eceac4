//! The switch of the traffic, from `[traffic]`: what its kind needs and nothing else.

use std::ops::Range;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Deserialize;
use toml::Spanned;

use crate::base::diag::suggestion;
use crate::base::endpoint::Endpoint;
use crate::base::units::short;
use crate::config::address::machine;
use crate::config::resolver::Resolver;
use crate::config::shape::SpannedText;
use crate::plan::runbook::{ALL, KubeResource, Kubectl, ReadBack, Scale, Switch, SwitchKind};

/// How long one answer of a switch may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long until what is observed has to agree.
const WITHIN: Duration = Duration::from_secs(30);
/// Runtime APIs of more load balancers than this are not set one by one.
const MOST: usize = 64;

type SpannedWords = Spanned<Vec<String>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrafficKind {
    Http,
    Command,
    Haproxy,
    File,
    Kubectl,
}

impl TrafficKind {
    /// As files write it.
    pub fn word(self) -> &'static str {
        match self {
            TrafficKind::Http => "http",
            TrafficKind::Command => "command",
            TrafficKind::Haproxy => "haproxy",
            TrafficKind::File => "file",
            TrafficKind::Kubectl => "kubectl",
        }
    }
}

/// The switch of a canary's traffic.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficShape {
    pub kind: TrafficKind,
    pub stable: Option<String>,
    pub canary: Option<String>,
    pub within: Option<SpannedText>,
    pub timeout: Option<SpannedText>,
    /// http, and where a file's weights are read back
    pub service: Option<SpannedText>,
    pub method: Option<SpannedText>,
    pub path: Option<SpannedText>,
    pub body: Option<SpannedText>,
    pub read: Option<SpannedText>,
    pub pointer: Option<SpannedText>,
    pub scale: Option<Spanned<Scale>>,
    /// command, kubectl
    pub set: Option<Spanned<Vec<String>>>,
    pub get: Option<Spanned<Vec<String>>>,
    /// haproxy
    pub addresses: Option<Spanned<Vec<String>>>,
    pub backend: Option<SpannedText>,
    /// file
    pub file: Option<SpannedText>,
    pub template: Option<SpannedText>,
    pub check: Option<Spanned<Vec<String>>>,
    pub reload: Option<Spanned<Vec<String>>>,
    /// kubectl
    pub resource: Option<SpannedText>,
    pub namespace: Option<SpannedText>,
    pub context: Option<SpannedText>,
    pub promote: Option<Spanned<Vec<String>>>,
    pub abort: Option<Spanned<Vec<String>>>,
}

fn fields_of(kind: TrafficKind) -> &'static [&'static str] {
    match kind {
        TrafficKind::Http => &["service", "method", "path", "body", "read", "pointer", "scale"],
        TrafficKind::Command => &["set", "get", "pointer", "scale"],
        TrafficKind::Haproxy => &["addresses", "backend"],
        TrafficKind::File => &["file", "template", "check", "reload", "service", "read", "pointer", "scale"],
        TrafficKind::Kubectl => &["resource", "namespace", "context", "set", "promote", "abort"],
    }
}

impl TrafficShape {
    /// Every field that only some kinds have, where it is given.
    fn given(&self) -> Vec<(&'static str, Range<usize>)> {
        let texts = [
            ("service", &self.service),
            ("method", &self.method),
            ("path", &self.path),
            ("body", &self.body),
            ("read", &self.read),
            ("pointer", &self.pointer),
            ("backend", &self.backend),
            ("file", &self.file),
            ("template", &self.template),
            ("resource", &self.resource),
            ("namespace", &self.namespace),
            ("context", &self.context),
        ];
        let lists = [
            ("set", &self.set),
            ("get", &self.get),
            ("addresses", &self.addresses),
            ("check", &self.check),
            ("reload", &self.reload),
            ("promote", &self.promote),
            ("abort", &self.abort),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?.span())));
        let lists = lists.into_iter().filter_map(|(name, list)| Some((name, list.as_ref()?.span())));
        texts.chain(lists).chain(self.scale.as_ref().map(|scale| ("scale", scale.span()))).collect()
    }
}

impl Resolver<'_> {
    /// The switch; what is wrong with it goes into the findings.
    pub(super) fn switch(&mut self, shape: &TrafficShape, span: &Range<usize>, services: &IndexMap<String, Endpoint>) -> Option<Switch> {
        let fields = fields_of(shape.kind);
        for (name, at) in shape.given().into_iter().filter(|(name, _)| !fields.contains(name)) {
            let hint = suggestion(name, fields.iter().copied());
            self.findings.error(at, format!("a switch of kind {} has no `{name}`", shape.kind.word()), hint);
        }
        let kind = match shape.kind {
            TrafficKind::Http => self.http_switch(shape, span, services),
            TrafficKind::Command => self.command_switch(shape, span),
            TrafficKind::Haproxy => self.haproxy_switch(shape, span),
            TrafficKind::File => self.file_switch(shape, span, services),
            TrafficKind::Kubectl => self.kubectl_switch(shape, span),
        }?;
        let track = |name: &Option<String>, default: &str| name.clone().unwrap_or_else(|| default.into());
        let switch = Switch {
            stable: track(&shape.stable, "stable"),
            canary: track(&shape.canary, "canary"),
            within: self.interval(shape.within.as_ref(), WITHIN),
            timeout: self.interval(shape.timeout.as_ref(), TIMEOUT),
            kind,
        };
        if switch.within < switch.timeout {
            let at = shape.within.as_ref().or(shape.timeout.as_ref()).map_or_else(|| span.clone(), SpannedText::span);
            let cause =
                format!("the share has to be there within {}, and one answer may take {}", short(switch.within), short(switch.timeout));
            self.findings.warn(at, cause, Some("make `within` longer than `timeout`".into()));
        }
        self.renders(&switch, shape, span).then_some(switch)
    }

    /// Whether its templates come to something with every weight.
    fn renders(&mut self, switch: &Switch, shape: &TrafficShape, span: &Range<usize>) -> bool {
        let texts = [&shape.path, &shape.body, &shape.template].into_iter().flatten().map(|text| (text.get_ref().clone(), text.span()));
        let lists = [&shape.set, &shape.get, &shape.check, &shape.reload, &shape.promote, &shape.abort].into_iter().flatten();
        let words = lists.flat_map(|list| list.get_ref().iter().map(|word| (word.clone(), list.span())));
        let mut sound = true;
        for (template, at) in texts.chain(words).collect::<Vec<_>>() {
            if let Some(e) = [0, 1, ALL].into_iter().find_map(|weight| switch.render(&template, weight).err()) {
                let hint = "a template knows weight, rest, stable and canary, as {{ weight }}";
                self.findings.error(at, format!("`{}`: {e}", template.trim()), Some(hint.into()));
                sound = false;
            }
        }
        let says = |weight| match &switch.kind {
            SwitchKind::Http { path, body, .. } => Some([path, body].map(|text| switch.render(text, weight).unwrap_or_default()).concat()),
            SwitchKind::File { template, .. } => switch.render(template, weight).ok(),
            SwitchKind::Command { set, .. } => switch.argv(set, weight).map(|words| words.join(" ")).ok(),
            SwitchKind::Haproxy { .. } | SwitchKind::Kubectl(_) => None,
        };
        if sound && says(0).is_some() && says(0) == says(ALL) {
            let hint = "write {{ weight }} where the canary's share in per cent belongs";
            self.findings.error(span.clone(), "the switch says the same for every share", Some(hint.into()));
            sound = false;
        }
        if switch.stable == switch.canary {
            self.findings.error(span.clone(), format!("both tracks are called `{}`", switch.stable), None);
            sound = false;
        }
        sound
    }

    fn wanted<'t>(&mut self, text: Option<&'t SpannedText>, span: &Range<usize>, field: &str, example: &str) -> Option<&'t str> {
        if text.is_none() {
            self.findings.error(span.clone(), format!("the switch has no `{field}`"), Some(format!("write {field} = {example}")));
        }
        text.map(|text| text.get_ref().as_str())
    }

    fn wanted_list(&mut self, list: Option<&SpannedWords>, span: &Range<usize>, field: &str, example: &str) -> Option<Vec<String>> {
        match list {
            Some(list) if !list.get_ref().is_empty() => Some(list.get_ref().clone()),
            _ => {
                let at = list.map_or_else(|| span.clone(), Spanned::span);
                self.findings.error(at, format!("the switch has no `{field}`"), Some(format!("write {field} = {example}")));
                None
            }
        }
    }

    fn service_of(&mut self, shape: &TrafficShape, span: &Range<usize>, services: &IndexMap<String, Endpoint>) -> Option<Endpoint> {
        let name = self.wanted(shape.service.as_ref(), span, "service", "\"router\", one of [services] or an http source")?;
        let found = services.get(name).cloned();
        if found.is_none() {
            let at = shape.service.as_ref().map_or_else(|| span.clone(), SpannedText::span);
            self.findings.error(at, format!("there is no service `{name}`"), suggestion(name, services.keys().map(String::as_str)));
        }
        found
    }

    fn read_back(&mut self, shape: &TrafficShape, span: &Range<usize>, path: &str) -> Option<ReadBack> {
        let pointer = self.wanted(shape.pointer.as_ref(), span, "pointer", "\"/canary\", where the share stands in the answer")?;
        if !pointer.is_empty() && !pointer.starts_with('/') {
            let at = shape.pointer.as_ref().map_or_else(|| span.clone(), SpannedText::span);
            let hint = format!("write /{}", pointer.replace('.', "/"));
            self.findings.error(at, format!("`{pointer}` is not a JSON pointer"), Some(hint));
            return None;
        }
        let path = shape.read.as_ref().map_or(path, |read| read.get_ref());
        Some(ReadBack { path: path.into(), pointer: pointer.into(), scale: shape.scale.as_ref().map(|s| *s.get_ref()).unwrap_or_default() })
    }

    fn http_switch(&mut self, shape: &TrafficShape, span: &Range<usize>, services: &IndexMap<String, Endpoint>) -> Option<SwitchKind> {
        let endpoint = self.service_of(shape, span, services);
        let path = self.wanted(shape.path.as_ref(), span, "path", "\"/traffic\"");
        let read = self.read_back(shape, span, path.unwrap_or(""));
        let body = shape.body.as_ref().map_or_else(|| "{\"canary\": {{ weight }}}".into(), |body| body.get_ref().clone());
        let method = shape.method.as_ref().map_or("PUT", |method| method.get_ref());
        let known = ["PUT", "POST", "PATCH"];
        if !known.contains(&method) {
            let at = shape.method.as_ref().map_or_else(|| span.clone(), SpannedText::span);
            self.findings.error(at, format!("a switch is not turned by `{method}`"), suggestion(method, known));
        }
        Some(SwitchKind::Http { endpoint: endpoint?, method: method.into(), path: path?.into(), body, read: read? })
    }

    fn command_switch(&mut self, shape: &TrafficShape, span: &Range<usize>) -> Option<SwitchKind> {
        let set = self.wanted_list(shape.set.as_ref(), span, "set", "[\"./bin/traffic\", \"set\", \"{{ weight }}\"]");
        let get = self.wanted_list(shape.get.as_ref(), span, "get", "[\"./bin/traffic\", \"get\"]");
        let pointer = shape.pointer.as_ref().map(|pointer| pointer.get_ref().clone());
        let scale = shape.scale.as_ref().map(|s| *s.get_ref()).unwrap_or_default();
        Some(SwitchKind::Command { set: self.beside(set?), get: self.beside(get?), pointer, scale })
    }

    fn haproxy_switch(&mut self, shape: &TrafficShape, span: &Range<usize>) -> Option<SwitchKind> {
        let example = "[\"10.0.0.1:9999\", \"/run/haproxy/admin.sock\"]";
        let addresses = self.wanted_list(shape.addresses.as_ref(), span, "addresses", example);
        let backend = self.wanted(shape.backend.as_ref(), span, "backend", "\"app\"");
        let addresses = addresses?;
        let at = shape.addresses.as_ref().map_or_else(|| span.clone(), Spanned::span);
        for address in &addresses {
            let is_place = address.starts_with('/')
                || address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if !is_place {
                let hint = "write HOST:PORT, or the path of a socket from the root";
                self.findings.error(at.clone(), format!("`{address}` is no address of a runtime API"), Some(hint.into()));
            }
        }
        if addresses.len() > MOST {
            self.findings.error(at, format!("more than {MOST} load balancers"), None);
        }
        // What stands in a command of the runtime API must not end it.
        let names = [backend, shape.stable.as_deref(), shape.canary.as_deref()];
        for name in names.into_iter().flatten() {
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c)) {
                self.findings.error(span.clone(), format!("`{name}` cannot be a name in HAProxy"), None);
            }
        }
        Some(SwitchKind::Haproxy { addresses, backend: backend?.into() })
    }

    fn file_switch(&mut self, shape: &TrafficShape, span: &Range<usize>, services: &IndexMap<String, Endpoint>) -> Option<SwitchKind> {
        let file = self.wanted(shape.file.as_ref(), span, "file", "\"/etc/nginx/conf.d/canary.conf\"");
        let template = self.wanted(shape.template.as_ref(), span, "template", "'''…{{ weight }}…'''");
        let reload = self.wanted_list(shape.reload.as_ref(), span, "reload", "[\"nginx\", \"-s\", \"reload\"]");
        let read = match (&shape.service, &shape.read) {
            (None, None) => None,
            _ => Some((self.service_of(shape, span, services)?, self.read_back(shape, span, "/")?)),
        };
        let check = shape.check.as_ref().map(|check| check.get_ref().clone()).unwrap_or_default();
        Some(SwitchKind::File {
            path: self.folder.join(file?),
            template: template?.into(),
            check: self.beside(check),
            reload: self.beside(reload?),
            read,
        })
    }

    fn kubectl_switch(&mut self, shape: &TrafficShape, span: &Range<usize>) -> Option<SwitchKind> {
        let text = self.wanted(shape.resource.as_ref(), span, "resource", "\"rollout/rag\" or \"canary/rag\"")?;
        let at = shape.resource.as_ref().map_or_else(|| span.clone(), SpannedText::span);
        let resource = match text.split_once('/') {
            Some(("rollout", name)) if !name.is_empty() => (KubeResource::Rollout, name),
            Some(("canary", name)) if !name.is_empty() => (KubeResource::Canary, name),
            _ => {
                let hint = "write rollout/NAME (Argo Rollouts) or canary/NAME (Flagger)";
                self.findings.error(at, format!("`{text}` is neither"), Some(hint.into()));
                return None;
            }
        };
        let flag = |name: &str, value: &Option<SpannedText>| value.as_ref().map(|v| [name.to_string(), v.get_ref().clone()]);
        let flags = [flag("--namespace", &shape.namespace), flag("--context", &shape.context)];
        let own = |list: &Option<SpannedWords>| list.as_ref().map(|list| list.get_ref().clone()).unwrap_or_default();
        let (set, promote, abort) = (own(&shape.set), own(&shape.promote), own(&shape.abort));
        if resource.0 == KubeResource::Canary {
            // Flagger has no command of its own for them: its gates are told.
            for (name, list) in [("set", &set), ("promote", &promote), ("abort", &abort)] {
                if list.is_empty() {
                    let hint = format!("write {name} = [\"kubectl\", …], the command that opens the gate for it");
                    self.findings.error(span.clone(), format!("a canary of Flagger needs `{name}`"), Some(hint));
                }
            }
        }
        Some(SwitchKind::Kubectl(Kubectl {
            resource: resource.0,
            name: resource.1.into(),
            flags: flags.into_iter().flatten().flatten().collect(),
            set: self.beside(set),
            promote: self.beside(promote),
            abort: self.beside(abort),
        }))
    }
}

/// What a switch turns: two that are told the same turn the same.
pub(super) fn reached(switch: &Switch) -> Vec<(String, String)> {
    if let SwitchKind::Haproxy { addresses, backend } = &switch.kind {
        let one = |address: &String| match address.rsplit_once(':').filter(|_| !address.starts_with('/')) {
            Some((host, port)) => (format!("switch {}:{port} {backend}", machine(host)), format!("{address} {backend}")),
            None => (format!("switch {address} {backend}"), format!("{address} {backend}")),
        };
        return addresses.iter().map(one).collect();
    }
    switch.places().into_iter().map(|place| (format!("switch {place}"), place)).collect()
}
