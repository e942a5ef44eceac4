//! Who may do what: roles by user or group, and what each role may run in which tier.

use indexmap::IndexMap;

use crate::base::tier::Tier;
use crate::plan::runbook::Danger;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
pub enum OperatorRole {
    /// Looks.
    Viewer,
    /// Runs what is everyday.
    Operator,
    /// Runs everything.
    Commander,
}

impl OperatorRole {
    pub const ALL: [OperatorRole; 3] = [OperatorRole::Viewer, OperatorRole::Operator, OperatorRole::Commander];

    pub fn word(self) -> &'static str {
        match self {
            OperatorRole::Viewer => "viewer",
            OperatorRole::Operator => "operator",
            OperatorRole::Commander => "commander",
        }
    }
}

/// The names under each role (`@group` for a group, `*` for everybody), and what is different from the usual rights.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Roles {
    pub names: IndexMap<OperatorRole, Vec<String>>,
    pub may: IndexMap<OperatorRole, IndexMap<Tier, Danger>>,
}

impl Roles {
    /// The highest role of a user. Without any roles configured everybody commands: the system's own permissions decide.
    pub fn of(&self, user: &str, groups: &[String]) -> OperatorRole {
        if self.names.values().all(Vec::is_empty) {
            return OperatorRole::Commander;
        }
        let matches = |name: &String| match name.strip_prefix('@') {
            Some(group) => groups.iter().any(|g| g == group),
            None => name == "*" || name == user,
        };
        let has = |role: &OperatorRole| self.names.get(role).is_some_and(|names| names.iter().any(matches));
        OperatorRole::ALL.into_iter().rev().find(has).unwrap_or(OperatorRole::Viewer)
    }

    /// The most dangerous plan that a role may run in a tier; `None`: nothing.
    pub fn limit(&self, role: OperatorRole, tier: Tier) -> Option<Danger> {
        if let Some(danger) = self.may.get(&role).and_then(|tiers| tiers.get(&tier)) {
            return Some(*danger);
        }
        match (role, tier) {
            (OperatorRole::Viewer, _) => None,
            (OperatorRole::Operator, Tier::Production) => Some(Danger::Caution),
            (OperatorRole::Operator, _) | (OperatorRole::Commander, _) => Some(Danger::Danger),
        }
    }

    /// # Errors
    /// Why not, in words.
    pub fn permit(&self, user: &str, groups: &[String], tier: Tier, danger: Danger) -> Result<(), String> {
        let role = self.of(user, groups);
        match self.limit(role, tier) {
            Some(limit) if danger <= limit => Ok(()),
            Some(limit) => Err(format!(
                "{user} is {}: in {} that may run what is {} or less, and this is {}",
                role.word(),
                tier.name(),
                limit.word(),
                danger.word()
            )),
            None => Err(format!("{user} is {}: that may look, and run nothing", role.word())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_run_what() {
        let names = IndexMap::from([
            (OperatorRole::Operator, vec!["ana".to_string(), "@oncall".into()]),
            (OperatorRole::Commander, vec!["eva".into()]),
            (OperatorRole::Viewer, vec!["*".into()]),
        ]);
        let roles = Roles { names, may: IndexMap::from([(OperatorRole::Operator, IndexMap::from([(Tier::Staging, Danger::Caution)]))]) };
        let oncall = ["oncall".to_string()];
        let cases = [
            ("eva", &[][..], Tier::Production, Danger::Danger, true),
            ("ana", &[], Tier::Production, Danger::Danger, false),
            ("ana", &[], Tier::Production, Danger::Caution, true),
            ("bob", &oncall, Tier::Production, Danger::Caution, true),
            ("bob", &oncall, Tier::Staging, Danger::Danger, false),
            ("bob", &oncall, Tier::Development, Danger::Danger, true),
            ("bob", &[], Tier::Development, Danger::Safe, false),
        ];
        for (user, groups, tier, danger, want) in cases {
            assert_eq!(roles.permit(user, groups, tier, danger).is_ok(), want, "{user} {tier:?} {danger:?}");
        }
        assert_eq!(Roles::default().of("anybody", &[]), OperatorRole::Commander);
    }
}
