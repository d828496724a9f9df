//! No code is marked as unfinished, and no test is disabled.

use crate::sources::sources;

#[test]
fn nothing_is_left_to_do_and_no_test_is_switched_off() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        for word in ["todo!", "unimplemented!", "dbg!", "#[ignore", "unsafe {", "#[should_panic]"] {
            if source.code.contains(word) {
                wrong.push(format!("{}: {word}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
