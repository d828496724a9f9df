//! Files and functions are short, and tests stand at the end of their file.

use crate::sources::{functions, sources};

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;

#[test]
fn files_and_functions_are_short() {
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        if source.is_tests() {
            continue;
        }
        let lines = source.product.lines().count();
        if lines > MAX_FILE_LINES {
            wrong.push(format!("{} has {lines} lines", source.path.display()));
        }
        for (name, line, length) in functions(&source.product) {
            if length > MAX_FUNCTION_LINES {
                wrong.push(format!("{}:{line}: fn {name} has {length} lines", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "longer than they may be:\n{}", wrong.join("\n"));
}

/// The rules ignore the text after the first `#[cfg(test)]`, so only tests may follow it.
#[test]
fn tests_stand_at_the_bottom_of_their_file() {
    for source in sources(&["src"]) {
        let Some((_, after)) = source.code.split_once("#[cfg(test)]") else { continue };
        let after = after.trim();
        let last =
            after == "mod tests;" || after.starts_with("mod tests {") && source.code.ends_with("\n}\n");
        let closed = after.matches("\n}\n").count() == 0;
        assert!(last && closed, "{}: something follows its tests", source.path.display());
    }
}

/// `tests/long size` builds the release binary and weighs it.
#[test]
fn r_53_the_release_profile_has_no_debug_information() {
    let manifest = std::fs::read_to_string(crate::sources::root().join("Cargo.toml")).unwrap();
    let (_, release) = manifest.split_once("[profile.release]").unwrap();
    let release = release.split("\n[").next().unwrap();
    assert!(release.contains("strip = \"symbols\"") && !release.contains("debug = "), "{release}");
}
