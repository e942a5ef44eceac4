//! What runs need: services, channels, roles, the state folder, where records are mirrored to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcetera::{BaseStrategy, choose_base_strategy};
use indexmap::IndexMap;

use super::file::FileShape;
use super::model::{Acting, SourceConfig, SourceKind};
use super::resolver::Resolver;
use super::roles::{OperatorRole, Roles};
use super::shape::{ChannelKind, KindShape, NotifyShape, RolesShape, RollbackShape, ServiceShape, SourceShape, SpannedText};
use crate::base::diag::suggestion;
use crate::base::endpoint::Endpoint;
use crate::base::secret::SecretRef;
use crate::base::tier::Tier;
use crate::plan::deploy::RollbackSettings;
use crate::plan::runbook::{Channel, Danger, Notice, PAGERDUTY};

/// How long a service may take unless the step says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Resolver<'_> {
    /// What steps talk to over HTTP: services of their own, and sources.
    pub(super) fn services(&mut self, file: &FileShape, sources: &IndexMap<Arc<str>, SourceConfig>) -> IndexMap<String, Endpoint> {
        let mut services = IndexMap::new();
        for (name, source) in sources {
            if let SourceKind::Http(endpoint) | SourceKind::Qdrant { endpoint, .. } = &source.kind {
                services.insert(name.to_string(), Endpoint { max_body: endpoint.max_body.max(4 << 20), ..endpoint.clone() });
            }
        }
        for (name, (shape, span)) in &file.services {
            match self.service(shape, span) {
                Some(endpoint) => drop(services.insert(name.to_string(), endpoint)),
                None => self.findings.lost(name),
            }
        }
        services
    }

    /// The rest of what runs need.
    pub(super) fn acting(&mut self, file: &FileShape, sources: &IndexMap<Arc<str>, SourceConfig>) -> Acting {
        let (mut notify, mut always) = (IndexMap::new(), Vec::new());
        for (name, (shape, span)) in &file.notify {
            if let Some(channel) = self.channel(shape, span) {
                if !shape.events.is_empty() {
                    always.push(Notice { name: name.to_string(), channel: channel.clone(), events: shape.events.clone() });
                }
                notify.insert(name.to_string(), channel);
            }
        }
        Acting {
            runbooks: self.folder.join(file.runbooks.as_deref().unwrap_or("runbooks")),
            profile: file.profile.as_ref().map(|(name, _)| name.clone()),
            vars: file.vars.clone(),
            rollback: file.rollback.as_ref().and_then(|(shape, span)| self.rollback(shape, span)),
            notify,
            always,
            roles: self.roles(file),
            audit: self.audit(file, sources),
            ..Acting::default()
        }
    }

    fn service(&mut self, shape: &ServiceShape, span: &std::ops::Range<usize>) -> Option<Endpoint> {
        let timeout = self.interval(shape.timeout.as_ref(), TIMEOUT);
        let source = SourceShape {
            kind: KindShape::Http,
            url: shape.url.clone(),
            interval: None,
            timeout: None,
            scrape_interval: None,
            concurrency: None,
            headers: shape.headers.clone(),
            bearer_token: shape.bearer_token.clone(),
            user: shape.user.clone(),
            password: shape.password.clone(),
            api_key: shape.api_key.clone(),
            tls: shape.tls.clone(),
            max_body: None,
            proxy: shape.proxy.clone(),
            targets: Vec::new(),
            retention: None,
            max_samples: None,
            max_series: None,
            collection: None,
            connections: None,
            command: None,
        };
        self.endpoint(&source, span, timeout, "4MiB")
    }

    fn rollback(&mut self, shape: &RollbackShape, span: &std::ops::Range<usize>) -> Option<RollbackSettings> {
        let prefix = shape.prefix.clone().unwrap_or_else(|| "rag".into());
        if prefix.is_empty()
            || !prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            || prefix.starts_with(|c: char| c.is_ascii_digit())
        {
            let hint = "letters, digits and _, as in rag";
            self.findings.error(span.clone(), format!("`{prefix}` cannot begin the name of a metric"), Some(hint.into()));
        }
        let pushgateway = match &shape.pushgateway {
            Some(url) => {
                let service = ServiceShape { url: Some(url.clone()), ..ServiceShape::default() };
                Some(self.service(&service, span)?)
            }
            None => None,
        };
        Some(RollbackSettings { prefix, textfile: shape.textfile.as_ref().map(|file| self.folder.join(file)), pushgateway })
    }

    fn channel(&mut self, shape: &NotifyShape, span: &std::ops::Range<usize>) -> Option<Channel> {
        match shape.kind {
            ChannelKind::Slack => {
                let webhook = self.channel_secret(shape.webhook.as_ref(), span, "webhook")?;
                Some(Channel::Slack { webhook })
            }
            ChannelKind::Pagerduty => {
                let key = self.channel_secret(shape.key.as_ref(), span, "key")?;
                Some(Channel::Pagerduty { key, url: shape.url.as_ref().map_or_else(|| PAGERDUTY.into(), |url| url.get_ref().clone()) })
            }
            ChannelKind::Webhook => {
                let url = self.url(shape.url.as_ref(), span, &["http", "https"])?;
                Some(Channel::Webhook { url: url.to_string(), secret: self.secret(shape.secret.as_ref()) })
            }
            ChannelKind::Email => {
                let mut smtp = self.url(shape.smtp.as_ref(), span, &["smtp", "smtps"])?;
                // A password does not go over a line that anybody can read.
                if smtp.scheme() == "smtp" && shape.password.is_some() && !smtp.query_pairs().any(|(key, _)| key == "tls") {
                    smtp.query_pairs_mut().append_pair("tls", "required");
                }
                let from = shape.from.as_ref().map(|from| from.get_ref().clone());
                if from.is_none() || shape.to.is_empty() {
                    let hint = Some("write from = \"lastgreen@example.org\" and to = [\"oncall@example.org\"]".into());
                    self.findings.error(span.clone(), "a channel for e-mail needs `from` and `to`", hint);
                }
                Some(Channel::Email {
                    smtp: smtp.to_string(),
                    from: from?,
                    to: shape.to.iter().map(|to| to.get_ref().clone()).collect(),
                    user: shape.user.clone(),
                    password: self.secret(shape.password.as_ref()),
                })
            }
        }
    }

    fn channel_secret(&mut self, text: Option<&SpannedText>, span: &std::ops::Range<usize>, field: &str) -> Option<SecretRef> {
        if text.is_none() {
            self.findings.error(span.clone(), format!("`{field}` is missing"), Some(format!("write {field} = \"env:NAME\"")));
        }
        self.secret(text)
    }

    fn roles(&mut self, file: &FileShape) -> Roles {
        let Some(shape) = &file.roles else { return Roles::default() };
        let mut roles = Roles::default();
        for (role, names) in
            [(OperatorRole::Viewer, &shape.viewer), (OperatorRole::Operator, &shape.operator), (OperatorRole::Commander, &shape.commander)]
        {
            roles.names.insert(role, names.iter().map(|name| name.get_ref().clone()).collect());
        }
        for (name, tiers) in &shape.may {
            let Some(role) = OperatorRole::ALL.into_iter().find(|role| role.word() == name) else {
                let hint = suggestion(name, OperatorRole::ALL.map(OperatorRole::word));
                self.findings.error(tiers.span(), format!("there is no role `{name}`"), hint);
                continue;
            };
            for (tier, danger) in tiers.get_ref() {
                let all = [Tier::Production, Tier::Staging, Tier::Development];
                match all.into_iter().find(|known| known.name() == tier) {
                    Some(tier) => drop(roles.may.entry(role).or_default().insert(tier, *danger)),
                    None => {
                        let hint = suggestion(tier, all.map(Tier::name));
                        self.findings.error(tiers.span(), format!("there is no tier `{tier}`"), hint);
                    }
                }
            }
        }
        self.somebody_may_roll_back(file, shape, &roles);
        roles
    }

    /// Where roles are given and a switch is there, somebody has to be allowed to turn it back.
    fn somebody_may_roll_back(&mut self, file: &FileShape, shape: &RolesShape, roles: &Roles) {
        let tier = file.environment.as_ref().and_then(|(environment, _)| environment.tier).unwrap_or_default();
        let named = roles.names.iter().filter(|(_, names)| !names.is_empty());
        let most = named.map(|(role, _)| roles.limit(*role, tier)).max().flatten();
        let first = [&shape.viewer, &shape.operator, &shape.commander].into_iter().flatten().next();
        if let Some(first) = first.filter(|_| file.sections.traffic.is_some() && most < Some(Danger::Danger)) {
            let cause = format!("nobody may roll back in {}: that is for a commander, and there is none", tier.name());
            self.findings.warn(first.span(), cause, Some("write commander = [\"NAME\"] or [\"@GROUP\"] in [roles]".into()));
        }
    }

    fn audit(&mut self, file: &FileShape, sources: &IndexMap<Arc<str>, SourceConfig>) -> Option<Arc<str>> {
        let mut databases = sources.iter().filter(|(_, s)| matches!(s.kind, SourceKind::Database { .. })).map(|(name, _)| name);
        let Some(text) = &file.audit.database else { return databases.next().cloned() };
        if text.get_ref() == "none" {
            return None;
        }
        let found = databases.clone().find(|name| ***name == **text.get_ref()).cloned();
        if found.is_none() {
            let hint = suggestion(text.get_ref(), databases.map(AsRef::as_ref));
            self.findings.error(text.span(), format!("there is no database source `{}`", text.get_ref()), hint);
        }
        found
    }
}

/// Where runs are: what the file says, beside it, or the XDG state folder.
pub(super) fn state_dir_of(said: Option<&str>, folder: &Path) -> PathBuf {
    if let Some(dir) = said {
        return folder.join(dir);
    }
    let base = choose_base_strategy().ok().and_then(|s| s.state_dir());
    base.unwrap_or_else(|| PathBuf::from("/var/lib")).join("lastgreen")
}
