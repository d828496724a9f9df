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
