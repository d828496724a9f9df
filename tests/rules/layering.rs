//! Imports follow the table in `src/lib.rs`, and core code uses no clock, file, socket or thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::sources::{Source, names, paths, root, source, sources};

/// Names that core code must not use: clocks, files, sockets, threads, logs, databases, async, randomness.
const NOT_IN_CORE: [&str; 22] = [
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::os",
    "tokio",
    "tracing",
    "rusqlite",
    "nix",
    "socket2",
    "libc",
    "rand",
    "getrandom",
    "futures_io",
    "async_tftp",
    "tempfile",
];

/// Lints that a file must deny if it reads bytes from the network.
const PANICS: [&str; 4] =
    ["clippy::unwrap_used", "clippy::expect_used", "clippy::indexing_slicing", "clippy::panic"];

/// The table in the documentation of src/lib.rs.
struct Table {
    /// Modules that each module may import, besides itself.
    may_import: BTreeMap<String, BTreeSet<String>>,
    /// The modules that do no I/O.
    core: Vec<String>,
}

fn table() -> Table {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("//! | [`")) {
        let (name, rest) = line.split_once("`]").unwrap();
        let cells: Vec<&str> = rest.split('|').map(str::trim).collect();
        rows.push((name.to_owned(), cells[2].to_owned()));
    }
    let all: Vec<String> = rows.iter().map(|(name, _)| name.clone()).collect();
    let mut may_import = BTreeMap::new();
    for (place, (name, allowed)) in rows.iter().enumerate() {
        let allowed: BTreeSet<String> = match allowed.as_str() {
            "nothing" => BTreeSet::new(),
            "everything" => all.iter().cloned().collect(),
            text => match text.strip_prefix("all of the above") {
                Some(rest) => {
                    let except = rest.trim().strip_prefix("except ").unwrap_or_default();
                    all[..place].iter().filter(|name| *name != except).cloned().collect()
                }
                None => text.split(", ").map(str::to_owned).collect(),
            },
        };
        for module in &allowed {
            assert!(all.contains(module), "src/lib.rs lets {name} import {module}, which has no row");
        }
        may_import.insert(name.clone(), allowed);
    }
    let (_, after) = text.split_once("//! Down to `").expect("src/lib.rs says which modules are core");
    let (last, _) = after.split_once('`').unwrap();
    let core = all.iter().position(|name| name == last).map(|place| all[..=place].to_vec()).unwrap();
    Table { may_import, core }
}

#[test]
fn the_table_in_lib_rs_has_every_module_and_no_other() {
    let table = table();
    let there: BTreeSet<String> = sources(&["src"]).iter().filter_map(Source::module).collect();
    assert_eq!(table.may_import.keys().cloned().collect::<BTreeSet<_>>(), there);
    assert!(table.core.len() >= 9 && table.core.contains(&"wire".to_owned()), "{:?}", table.core);
}

#[test]
fn no_file_imports_more_than_its_row_allows() {
    let table = table();
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let Some(module) = source.module() else { continue };
        let to_root = "super::".repeat(source.depth());
        for path in paths(&source.product) {
            let inside = path.strip_prefix("crate::").or_else(|| path.strip_prefix(&to_root));
            let Some(inside) = inside.filter(|inside| !inside.starts_with("super::")) else { continue };
            let imported = inside.split("::").next().unwrap_or_default();
            if imported != module && !table.may_import[&module].contains(imported) {
                wrong.push(format!("{}: {path}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that src/lib.rs does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn core_code_does_no_io_and_reads_no_clock() {
    let table = table();
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        if !source.module().is_some_and(|module| table.core.contains(&module)) || source.is_tests() {
            continue;
        }
        for path in paths(&source.product) {
            if let Some(forbidden) = NOT_IN_CORE.iter().find(|forbidden| names(&path, forbidden)) {
                wrong.push(format!("{}: {path} ({forbidden})", source.path.display()));
            }
        }
        for word in ["async fn", "async move", ".await", "println!", "eprintln!", "static mut"] {
            if source.product.contains(word) {
                wrong.push(format!("{}: {word}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "what core code must not name:\n{}", wrong.join("\n"));
}

#[test]
fn core_modules_deny_clocks_files_and_sockets_and_wire_also_panics() {
    for module in table().core {
        let folder = root().join(format!("src/{module}/mod.rs"));
        let file = if folder.exists() { folder } else { root().join(format!("src/{module}.rs")) };
        let code = source(&file).code;
        let denied = code.split("#![deny(").nth(1).and_then(|rest| rest.split(")]").next());
        let denied = denied.unwrap_or_default();
        let mut lints = vec!["clippy::disallowed_methods", "clippy::disallowed_types"];
        if module == "wire" || module == "probe" {
            lints.extend(PANICS);
        }
        if module == "wire" {
            lints.push("clippy::arithmetic_side_effects");
        }
        for lint in lints {
            assert!(denied.contains(lint), "{} does not deny {lint}", file.display());
        }
    }
}
