//! Writes docs/codes.md from the table.

use super::code::{ScreenCode, ShownBy};
use super::table::codes;

/// The introduction of the page.
const HEAD: &str = "\
# Meanings of the messages on the screen

A machine shows a code or a message and does not boot. Find it here, or ask lanboot:

```sh
lanboot why PXE-E18
lanboot why ipxe.org/2d0c613b
```

`lanboot why MAC` says what happened to one machine. The verdicts in the last column are explained in
[troubleshooting.md](troubleshooting.md). This page is made from the table in src/journey/codes/table/; a test holds it to the
table.

";

/// The text of docs/codes.md.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    let shown = |by: ShownBy| codes().filter(move |row| row.shown_by == by);
    for by in ShownBy::ALL.into_iter().filter(|by| shown(*by).next().is_some()) {
        let anchor = by.name().to_ascii_lowercase().replace(' ', "-");
        page.push_str(&format!("- [{}](#{anchor})\n", by.name()));
    }
    for by in ShownBy::ALL.into_iter().filter(|by| shown(*by).next().is_some()) {
        page.push_str(&format!(
            "\n## {}\n\n| code | message | meaning | verdicts |\n|---|---|---|---|\n",
            by.name()
        ));
        for ScreenCode { code, message, meaning, verdicts, .. } in shown(by) {
            let code = match (by, code.len()) {
                (_, 0) => String::new(),
                (ShownBy::Ipxe, _) => format!("`{code}…`"),
                _ => format!("`{code}`"),
            };
            let verdicts: Vec<String> = verdicts.iter().map(|id| format!("`{id}`")).collect();
            page.push_str(&format!("| {code} | {message} | {meaning} | {} |\n", verdicts.join(" ")));
        }
    }
    page
}
