//! Bindings as a trie of chords. Help is read off the same trie that keys are looked up in.

use indexmap::IndexMap;

use super::{Action, Chord};

#[derive(Clone, Debug, PartialEq)]
enum KeyNode {
    Act(Action),
    More(IndexMap<Chord, KeyNode>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keymap {
    root: IndexMap<Chord, KeyNode>,
    /// What is different while a run is looked at.
    run: IndexMap<Chord, KeyNode>,
}

/// What a sequence of chords leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    Nothing,
    /// The beginning of a longer one.
    Prefix,
    Act(Action),
}

/// The tables of a keymap file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTable {
    Keys,
    Run,
}

impl Keymap {
    /// Binds a sequence, or unbinds it with `None`. A new binding replaces what stood there.
    ///
    /// # Errors
    /// When the sequence is empty, or a part of it is bound already (`g` and `g g` cannot both be).
    pub fn bind(&mut self, table: KeyTable, chords: &[Chord], action: Option<Action>) -> Result<(), String> {
        let root = if table == KeyTable::Run { &mut self.run } else { &mut self.root };
        let (last, path) = chords.split_last().ok_or("an empty key")?;
        let mut here = &mut *root;
        for chord in path {
            let next = here.entry(*chord).or_insert_with(|| KeyNode::More(IndexMap::new()));
            match next {
                KeyNode::More(more) => here = more,
                KeyNode::Act(action) => {
                    return Err(format!("`{chord}` alone is bound to `{}`: unbind it first with \"none\"", action.name()));
                }
            }
        }
        match (here.get(last), action) {
            (Some(KeyNode::More(_)), Some(_)) => return Err(format!("`{last}` begins longer keys: unbind those first")),
            (_, Some(action)) => drop(here.insert(*last, KeyNode::Act(action))),
            (_, None) => {
                here.shift_remove(last);
                prune(root);
            }
        }
        Ok(())
    }

    pub fn lookup(&self, chords: &[Chord]) -> Lookup {
        find(&self.root, chords)
    }

    /// The same while a run is looked at: its own keys first.
    pub fn lookup_in_run(&self, chords: &[Chord]) -> Lookup {
        match find(&self.run, chords) {
            Lookup::Nothing => find(&self.root, chords),
            found => found,
        }
    }

    /// Every binding: the keys as written, and the action.
    pub fn bindings(&self) -> Vec<(String, Action)> {
        let mut out = Vec::new();
        collect(&self.root, "", &mut out);
        collect(&self.run, "", &mut out);
        out
    }

    /// The keys of an action, the shortest first.
    pub fn keys(&self, action: Action) -> Vec<String> {
        let mut keys: Vec<String> = self.bindings().into_iter().filter(|(_, a)| *a == action).map(|(k, _)| k).collect();
        keys.sort_by_key(String::len);
        keys
    }
}

fn find(root: &IndexMap<Chord, KeyNode>, chords: &[Chord]) -> Lookup {
    let mut here = root;
    for (i, chord) in chords.iter().enumerate() {
        match here.get(chord) {
            Some(KeyNode::Act(action)) if i + 1 == chords.len() => return Lookup::Act(*action),
            Some(KeyNode::More(more)) => here = more,
            _ => return Lookup::Nothing,
        }
    }
    Lookup::Prefix
}

/// A beginning that leads nowhere any more is no key.
fn prune(node: &mut IndexMap<Chord, KeyNode>) {
    node.retain(|_, next| match next {
        KeyNode::Act(_) => true,
        KeyNode::More(more) => {
            prune(more);
            !more.is_empty()
        }
    });
}

fn collect(node: &IndexMap<Chord, KeyNode>, prefix: &str, out: &mut Vec<(String, Action)>) {
    for (chord, next) in node {
        let keys = if prefix.is_empty() { chord.to_string() } else { format!("{prefix} {chord}") };
        match next {
            KeyNode::Act(action) => out.push((keys, *action)),
            KeyNode::More(more) => collect(more, &keys, out),
        }
    }
}
