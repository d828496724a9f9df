//! No circle of files: a file never imports, directly or through others, from a file that imports from it.
//!
//! Declaring a child module is no import; a re-export in a mod.rs is one. So a file inside a folder imports a shared type
//! from the file that defines it, not from the folder's mod.rs.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{paths, sources};

/// The TFTP worker is one state machine whose `impl` blocks are spread over these files.
const WORKER: [&str; 6] = [
    "server::tftp::native::listeners",
    "server::tftp::native::request",
    "server::tftp::native::transfer",
    "server::tftp::native::transfers",
    "server::tftp::native::unknown_tid",
    "server::tftp::native::worker",
];

/// The module of each file under src/, and the modules that it imports from.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let files = sources(&["src"]);
    let name = |path: &std::path::Path| {
        let path = path.strip_prefix("src").ok()?.with_extension("");
        let parts: Vec<&str> =
            path.iter().filter_map(|part| part.to_str()).filter(|part| *part != "mod").collect();
        Some(parts.join("::"))
    };
    let all: BTreeSet<String> = files.iter().filter_map(|file| name(&file.path)).collect();
    // The longest prefix of the path that is a file.
    let owner = |path: &str| {
        let mut rest = path;
        loop {
            if all.contains(rest) {
                return Some(rest.to_owned());
            }
            rest = rest.rsplit_once("::")?.0;
        }
    };
    let mut graph = BTreeMap::new();
    for file in files.iter().filter(|file| !file.is_tests()) {
        let Some(module) = name(&file.path).filter(|module| module != "lib" && module != "main") else {
            continue;
        };
        // A visibility names a module and imports nothing.
        let mut code = String::new();
        for (i, piece) in file.product.split("pub(in ").enumerate() {
            code.push_str(if i == 0 { piece } else { piece.split_once(')').map_or("", |(_, rest)| rest) });
        }
        let targets = paths(&code).into_iter().filter_map(|path| {
            if path.ends_with("::") {
                return None;
            }
            if let Some(inside) = path.strip_prefix("crate::") {
                // `use crate::store::{a, b}` names the folder, but imports from a and b.
                return owner(inside)
                    .filter(|found| *found != inside || !module.starts_with(&format!("{found}::")));
            }
            let (mut base, mut rest) = (Some(module.as_str()), path.as_str());
            while let Some(shorter) = rest.strip_prefix("super::") {
                base = base.map(|base| base.rsplit_once("::").map_or("", |(parent, _)| parent));
                rest = shorter;
            }
            let rest = rest.strip_prefix("self::").unwrap_or(rest);
            let path = format!("{}::{rest}", base?);
            let path = path.trim_start_matches("::");
            // A name that is no child of the module is of another crate.
            owner(path).filter(|found| *found != module)
        });
        graph.insert(module.clone(), targets.filter(|target| *target != module).collect());
    }
    graph
}

/// The modules that `from` imports from, directly or through others.
fn reached<'g>(graph: &'g BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'g str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some((_, targets)) = open.pop().and_then(|module| graph.get_key_value(module)) {
        for target in targets {
            if found.insert(target.as_str()) {
                open.push(target);
            }
        }
        if open.is_empty() {
            break;
        }
    }
    found
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let graph = imports();
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|module| (module.as_str(), reached(&graph, module))).collect();
    let mut circles: BTreeSet<Vec<&str>> = BTreeSet::new();
    for (module, targets) in reach.iter().filter(|(module, targets)| targets.contains(**module)) {
        let circle: Vec<&str> = targets
            .iter()
            .copied()
            .filter(|other| reach.get(other).is_some_and(|back| back.contains(module)))
            .collect();
        circles.insert(circle);
    }
    let is_worker = |circle: &Vec<&str>| circle.iter().all(|module| WORKER.contains(module));
    let others = circles.iter().filter(|circle| !is_worker(circle));
    let wrong: Vec<String> = others.map(|circle| circle.join(", ")).collect();
    assert!(
        wrong.is_empty(),
        "files that import each other in a circle; move what they share into a file below both:\n{}",
        wrong.join("\n")
    );
}
