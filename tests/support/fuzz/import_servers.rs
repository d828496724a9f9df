//! Importing the configurations of Kea and dhcpd: any text is translated or refused with its place. The result is
//! `config.yaml`.

use lanboot::import::{Failed, Found, Imported, Sources, dhcpd, kea};

/// Longer input finds nothing new.
const MOST: usize = 8192;

type Import = fn(&[String], Sources<'_>) -> Result<Imported, Failed>;

pub fn check_kea(data: &[u8]) {
    check(data, kea::import);
}

pub fn check_dhcpd(data: &[u8]) {
    check(data, dhcpd::import);
}

fn check(data: &[u8], import: Import) {
    let text = &data[..data.len().min(MOST)];
    let mut read = |path: &str, _: Option<&str>| match path {
        "file" => Ok(Found { name: path.to_owned(), bytes: text.to_vec() }),
        _ => Err(format!("cannot read {path}")),
    };
    let mut list = |_: &str, _: Option<&str>| Ok(Vec::new());
    match import(&["file".to_owned()], Sources::new(&mut read, &mut list)) {
        Ok(imported) => {
            for problem in &imported.problems {
                assert!(!problem.reason.is_empty() && problem.line >= 1, "{problem}");
            }
            is_accepted(&imported.yaml);
        }
        Err(Failed::Broken(broken)) => assert!(broken.line >= 1 && broken.column >= 1, "{broken}"),
        Err(Failed::Unreadable(why)) => assert!(!why.is_empty()),
        Err(Failed::NothingToServe { message, problems }) => {
            assert!(message.starts_with("file: nothing to serve: "), "{message}");
            assert!(problems.iter().all(|problem| problem.line >= 1), "{problems:?}");
        }
    }
}

/// The reader of `config.yaml` takes everything that an import writes.
pub(super) fn is_accepted(yaml: &str) {
    if let Err(problems) = lanboot::config::load(yaml) {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}\n{yaml}", all.join("\n"));
    }
}
