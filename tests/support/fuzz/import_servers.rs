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
            // Values may still be wrong, such as a file name in another folder. The structure is not.
            if let Err(problems) = lanboot::config::load(&imported.yaml) {
                let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
                assert!(!all.iter().any(|it| it.contains("not valid YAML")), "{all:?}: {}", imported.yaml);
            }
        }
        Err(Failed::Broken(broken)) => assert!(broken.line >= 1 && broken.column >= 1, "{broken}"),
        Err(Failed::Unreadable(why)) => assert!(!why.is_empty()),
    }
}
