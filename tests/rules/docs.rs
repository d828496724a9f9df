//! The pages of docs/ agree with the sources.

use std::fs;

use crate::sources::root;

#[test]
fn the_architecture_page_names_every_folder_of_src() {
    let Ok(page) = fs::read_to_string(root().join("docs/architecture.md")) else { return };
    let folders = fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().path());
    for folder in folders.filter(|path| path.is_dir()) {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let named = [format!("{name}/"), format!("`{name}`")].iter().any(|form| page.contains(form));
        assert!(named, "docs/architecture.md does not name src/{name}/");
    }
}

/// docs/configuration.md is made from the table of keys. `lanboot schema --markdown > docs/configuration.md` updates it.
#[test]
fn the_reference_of_keys_is_made_from_their_table() {
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap_or_default();
    let made = lanboot::config::reference();
    let differs = page.lines().zip(made.lines()).position(|(page, made)| page != made);
    assert!(
        page == made,
        "docs/configuration.md is out of date at line {}: run `lanboot schema --markdown > docs/configuration.md`",
        differs.map_or(page.lines().count().min(made.lines().count()), |at| at + 1)
    );
}

/// docs/codes.md is made from the table of screen codes. `cargo test --test rules the_page_of_codes` with `UPDATE=1` writes it.
#[test]
fn the_page_of_codes_is_made_from_their_table() {
    let (file, made) = (root().join("docs/codes.md"), lanboot::journey::codes::page());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &made).unwrap();
    }
    let page = fs::read_to_string(file).unwrap_or_default();
    assert!(
        page == made,
        "docs/codes.md is out of date: run UPDATE=1 cargo test --test rules the_page_of_codes"
    );
}

/// docs/troubleshooting.md explains every verdict.
#[test]
fn every_verdict_is_explained() {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    for id in lanboot::journey::verdict::VerdictId::ALL {
        assert!(page.contains(&format!("| `{}` |", id.name())), "{} is not explained", id.name());
    }
}
