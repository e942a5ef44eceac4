//! The README's key table is made from the action registry and the default keymap. Run with `UPDATE_README=1` to write it.

use std::path::Path;

use lastgreen::show::keymap::{self, Action, KeyScope};

fn table() -> String {
    let keymap = keymap::load("default", Path::new(".")).expect("the default keymap");
    let mut out = String::from("| key | does | where |\n|---|---|---|\n");
    for scope in KeyScope::ALL {
        for action in Action::ALL.iter().filter(|a| a.scope() == scope) {
            let keys: Vec<String> = keymap.keys(*action).iter().map(|k| format!("`{k}`")).collect();
            match action.board() {
                Some(0) => out += "| `1` … `9` | go to a board | everywhere |\n",
                Some(_) => {}
                None => out += &format!("| {} | {} | {} |\n", keys.join(" "), action.doc(), scope.word()),
            }
        }
    }
    out
}

#[test]
fn the_key_table_is_the_keymap() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let (before, rest) = readme.split_once("<!-- keys -->\n").expect("the mark");
    let (shown, after) = rest.split_once("<!-- /keys -->").expect("the end mark");
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, format!("{before}<!-- keys -->\n{}<!-- /keys -->{after}", table())).expect("written");
        return;
    }
    assert_eq!(shown, table(), "run UPDATE_README=1 cargo test --test readme");
}
