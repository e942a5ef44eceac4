//! What going back to a snapshot would throw away: what was written since, as exact counts and the servers' own tell.

use std::collections::BTreeMap;

use serde::Serialize;

use super::snapshot::{Changes, Manifest, Part, StoreKind};
use crate::base::clock::Stamp;
use crate::base::units::{short, thousands};

/// So many rows tell how large one of them is.
const ENOUGH: u64 = 1000;

/// What going back to a snapshot would throw away.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WriteLoss {
    pub snapshot: String,
    pub since: Stamp,
    /// By table or collection: how many more there are now than there were, where that is so.
    pub more: Vec<(String, u64)>,
    /// Where there are fewer now: they would come back.
    pub fewer: Vec<(String, u64)>,
    /// Rows that were changed or replaced since, where the server counts that.
    pub changed: Vec<(String, u64)>,
    /// Where nobody counts what was changed or replaced.
    pub unseen: Vec<String>,
    /// What could not be counted, and why.
    pub unknown: Vec<String>,
    /// The newest key of tables that have more rows, where that can be told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub newest: BTreeMap<String, String>,
}

/// Whether what is counted under a name goes when a part is restored in place: a table that was made later stays as it is. `asked`: what is
/// counted besides tables, whose groups may be new.
pub fn goes_in_place(part: &Part, asked: &[(String, String)], name: &str) -> bool {
    let is_group = |of: &str| name.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    part.counts.contains_key(name) || asked.iter().any(|(of, _)| is_group(of))
}

impl WriteLoss {
    /// From exact counts then and now.
    pub fn between(manifest: &Manifest, now: &BTreeMap<String, BTreeMap<String, u64>>, unknown: Vec<String>) -> WriteLoss {
        let mut loss = WriteLoss { snapshot: manifest.id.clone(), since: manifest.at, unknown, ..WriteLoss::default() };
        let mut seen = std::collections::BTreeSet::new();
        // Every node of a cluster counts all of it.
        for part in manifest.parts.iter().filter(|part| seen.insert(part.counted_as())) {
            let Some(counted) = now.get(part.counted_as()) else {
                let known = |words: &String| words.starts_with(part.counted_as());
                if part.kind != StoreKind::Program && !loss.unknown.iter().any(known) {
                    loss.unknown.push(format!("{} is not there", part.counted_as()));
                }
                continue;
            };
            // A table that is gone comes back whole.
            let gone = part.counts.iter().filter(|(name, n)| **n > 0 && !counted.contains_key(*name) && part.kind != StoreKind::Qdrant);
            loss.fewer.extend(gone.map(|(name, n)| (name.clone(), *n)));
            // So many groups that they are only counted cannot be compared with the groups themselves.
            let comparable = |name: &&String| !name.ends_with(" groups") || part.counts.contains_key(*name);
            for (name, count) in counted.iter().filter(|(name, _)| comparable(name)) {
                let then = part.counts.get(name).copied().unwrap_or(0);
                let shown = if part.kind == StoreKind::Qdrant { format!("points of {}", part.counted_as()) } else { name.clone() };
                match count.cmp(&then) {
                    std::cmp::Ordering::Greater => loss.more.push((shown, count - then)),
                    std::cmp::Ordering::Less => loss.fewer.push((shown, then - count)),
                    std::cmp::Ordering::Equal => {}
                }
            }
        }
        loss
    }

    /// How large that snapshot would be now, by the rows there are more of. From a few rows nothing can be told.
    pub fn grown(&self, manifest: &Manifest) -> u64 {
        let then: u64 = manifest.parts.iter().flat_map(|part| part.counts.values()).sum();
        let more: u64 = self.more.iter().map(|(_, more)| more).sum();
        if then < ENOUGH {
            return manifest.size();
        }
        (manifest.size() as f64 * (1.0 + more as f64 / then as f64)) as u64
    }

    /// With what the servers have counted of changes since, by store. Only the same counters can be compared: what came in beyond
    /// what there is more of took the place of what is gone.
    pub fn with_changes(
        mut self,
        manifest: &Manifest,
        counted: &BTreeMap<String, BTreeMap<String, u64>>,
        now: &BTreeMap<String, Changes>,
    ) -> WriteLoss {
        let mut seen = std::collections::BTreeSet::new();
        for part in manifest.parts.iter().filter(|part| seen.insert(part.counted_as())) {
            let pair = part.changes.as_ref().zip(now.get(&part.store)).filter(|(then, now)| then.of == now.of);
            let since = pair.and_then(|(then, now)| {
                let counted = counted.get(part.counted_as())?;
                let since = |(name, (changed, came)): (&String, &(u64, u64))| {
                    let (changed_then, came_then) = then.rows.get(name).copied().unwrap_or_default();
                    let more = counted.get(name)?.saturating_sub(part.counts.get(name).copied().unwrap_or(0));
                    let replaced = came.checked_sub(came_then)?.saturating_sub(more);
                    Some((name.clone(), changed.checked_sub(changed_then)? + replaced))
                };
                // Fewer than there were: they were counted anew.
                now.rows.iter().map(since).collect::<Option<Vec<_>>>()
            });
            match since {
                Some(since) => self.changed.extend(since.into_iter().filter(|(_, n)| *n > 0)),
                None => self.unseen.push(part.counted_as().to_string()),
            }
        }
        self
    }

    /// `1,284 rag_chunks, 1,284 points of rag_main written since 2026-11-12T21:02:00Z (7h ago)`: what is lost, and first of all
    /// what nobody counted.
    pub fn words(&self, now: Stamp) -> String {
        let newest = |name: &str| self.newest.get(name).map_or_else(String::new, |key| format!(" (newest {key})"));
        let one = |(name, n): &(String, u64)| format!("{} {name}{}", thousands(*n as f64), newest(name));
        let list = |all: &[(String, u64)], what: &str| {
            let names = all.iter().map(one).collect::<Vec<_>>().join(", ");
            (!all.is_empty()).then(|| format!("{names} {what}"))
        };
        let iso = self.since.iso();
        let since = format!("since {}Z ({} ago)", iso.get(..19).unwrap_or(&iso), short(now.since(self.since)));
        let mut counted =
            [list(&self.more, "written"), list(&self.changed, "changed or replaced")].into_iter().flatten().collect::<Vec<_>>();
        let mut words = Vec::new();
        if !self.unknown.is_empty() {
            words.push(format!("NOT COUNTED {since}: {}", self.unknown.join("; ")));
        } else if counted.is_empty() {
            counted.push(if self.unseen.is_empty() { "nothing" } else { "nothing that was counted" }.into());
        }
        if !counted.is_empty() {
            words.push(format!("{} {since}", counted.join(", ")));
        }
        if !self.unseen.is_empty() {
            words.push(format!("what was changed or replaced in {} is not seen", self.unseen.join(", ")));
        }
        words.extend(list(&self.fewer, "come back"));
        words.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::manifest;
    use super::*;

    fn counted(chunks: u64, old: u64) -> BTreeMap<String, BTreeMap<String, u64>> {
        BTreeMap::from([("db".to_string(), BTreeMap::from([("chunks".to_string(), chunks), ("old".to_string(), old)]))])
    }

    #[test]
    fn what_would_be_lost_is_counted() {
        let loss = WriteLoss::between(&manifest("a", 0, false), &counted(1294, 4), vec!["rag_main: refused".into()]);
        assert_eq!(
            loss.words(Stamp(60_000)),
            "NOT COUNTED since 1970-01-01T00:00:00Z (1m ago): rag_main: refused; 1,284 chunks written since 1970-01-01T00:00:00Z (1m ago); 1 old come back"
        );
        let newest = WriteLoss { newest: BTreeMap::from([("chunks".to_string(), "1294".to_string())]), unknown: Vec::new(), ..loss };
        assert!(newest.words(Stamp(60_000)).starts_with("1,284 chunks (newest 1294) written since"), "{}", newest.words(Stamp(60_000)));
        let more_and_unseen = WriteLoss { unseen: vec!["db".into()], ..newest };
        assert!(more_and_unseen.words(Stamp(60_000)).contains("changed or replaced in db is not seen"));
        let gone = WriteLoss::between(&manifest("a", 0, false), &BTreeMap::new(), Vec::new());
        assert_eq!(gone.unknown, ["db is not there"], "what is not counted is not nothing");
    }

    #[test]
    fn rows_that_were_changed_are_seen_where_the_server_counts_them() {
        let changes = |of: &str, n: u64| Changes { of: of.into(), rows: BTreeMap::from([("chunks".to_string(), (n, 100))]) };
        let words = |then: Option<Changes>, now: Option<Changes>| {
            let mut manifest = manifest("a", 0, false);
            manifest.parts[0].changes = then;
            let now = now.into_iter().map(|now| ("db".to_string(), now)).collect();
            WriteLoss::between(&manifest, &counted(10, 5), Vec::new()).with_changes(&manifest, &counted(10, 5), &now).words(Stamp(60_000))
        };
        let since = "since 1970-01-01T00:00:00Z (1m ago)";
        assert_eq!(words(Some(changes("1", 7)), Some(changes("1", 7))), format!("nothing {since}"));
        assert_eq!(words(Some(changes("1", 7)), Some(changes("1", 9))), format!("2 chunks changed or replaced {since}"));
        // Emptied and filled anew: no more than there was, and all of it is new.
        let anew = Changes { of: "1".into(), rows: BTreeMap::from([("chunks".to_string(), (7, 110))]) };
        assert!(words(Some(changes("1", 7)), Some(anew)).starts_with("10 chunks changed or replaced"));
        let unseen = format!("nothing that was counted {since}; what was changed or replaced in db is not seen");
        assert_eq!(words(Some(changes("1", 7)), Some(changes("2", 9))), unseen, "counters of another database");
        assert_eq!(words(Some(changes("1", 7)), Some(changes("1", 3))), unseen, "counted anew after a crash");
        assert_eq!(words(None, Some(changes("1", 3))), unseen, "a snapshot of an older version");
        assert_eq!(words(Some(changes("1", 7)), None), unseen, "not told now");
    }

    #[test]
    fn in_place_only_what_the_snapshot_has_goes() {
        let (manifest, asked) = (manifest("a", 0, false), [("by_model".to_string(), String::new())]);
        for (name, wanted) in [("chunks", true), ("later", false), ("by_model", true), ("by_model m3", true), ("by_models", false)] {
            assert_eq!(goes_in_place(&manifest.parts[0], &asked, name), wanted, "{name}");
        }
    }

    #[test]
    fn the_next_snapshot_is_larger_by_what_has_come() {
        let of = |chunks: u64, now: u64| {
            let mut manifest = manifest("a", 0, false);
            manifest.parts[0].size = 5000;
            manifest.parts[0].counts.insert("chunks".into(), chunks);
            WriteLoss::between(&manifest, &counted(now, 5), Vec::new()).grown(&manifest)
        };
        assert_eq!((of(995, 995), of(995, 9995), of(995, 100)), (5000, 50_000, 5000));
        assert_eq!(of(10, 1_000_000), 5000, "from a few rows nothing can be told");
    }
}
