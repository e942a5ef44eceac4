//! Who may do what: roles by user or group, and what each role may run in which tier.

use indexmap::IndexMap;

use crate::base::tier::Tier;
use crate::plan::runbook::Danger;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Runs what is everyday.
    Operator,
    /// Runs everything.
    Commander,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Commander];

    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Commander => "commander",
        }
    }
}

/// The names under each role (`@group` for a group, `*` for everybody), and what is different from the usual rights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roles {
    pub names: IndexMap<Role, Vec<String>>,
    pub may: IndexMap<(Role, &'static str), Danger>,
}

impl Roles {
    /// The highest role of a user. Without any roles configured everybody commands: the system's own permissions decide.
    pub fn of(&self, user: &str, groups: &[String]) -> Role {
        if self.names.values().all(Vec::is_empty) {
            return Role::Commander;
        }
        let matches = |name: &String| match name.strip_prefix('@') {
            Some(group) => groups.iter().any(|g| g == group),
            None => name == "*" || name == user,
        };
        let has = |role: &Role| self.names.get(role).is_some_and(|names| names.iter().any(matches));
        Role::ALL.into_iter().rev().find(has).unwrap_or(Role::Viewer)
    }

    /// The most dangerous plan that a role may run in a tier; `None`: nothing.
    pub fn limit(&self, role: Role, tier: Tier) -> Option<Danger> {
        if let Some(danger) = self.may.get(&(role, tier.name())) {
            return Some(*danger);
        }
        match (role, tier) {
            (Role::Viewer, _) => None,
            (Role::Operator, Tier::Production) => Some(Danger::Caution),
            (Role::Operator, _) | (Role::Commander, _) => Some(Danger::Danger),
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
            (Role::Operator, vec!["ana".to_string(), "@oncall".into()]),
            (Role::Commander, vec!["eva".into()]),
            (Role::Viewer, vec!["*".into()]),
        ]);
        let roles = Roles { names, may: IndexMap::from([((Role::Operator, "staging"), Danger::Caution)]) };
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
        assert_eq!(Roles::default().of("anybody", &[]), Role::Commander);
    }
}
