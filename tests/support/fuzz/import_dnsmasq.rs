//! Importing dnsmasq's configuration: for any bytes, the result is the same each time, every place exists, every message
//! is printable, and `lanboot check` accepts the YAML, whose size is limited.

use lanboot::import::{Failed, Found, Sources, dnsmasq};

/// Longer input finds nothing new.
const MOST: usize = 8192;
/// The output may have this many bytes for each byte of input, and as many more as the second number.
const GROWTH: (usize, usize) = (400, 4096);
/// Separates the file from the one that it may include.
const SEPARATOR: &[u8] = b"\n%%\n";

/// The data is the configuration, and after [`SEPARATOR`] the content of every file that it includes.
pub fn check(data: &[u8]) {
    let data = &data[..data.len().min(MOST)];
    let at = data.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
    let (file, included) = match at {
        Some(at) => (&data[..at], &data[at + SEPARATOR.len()..]),
        None => (data, &[][..]),
    };
    let first = import(file, included);
    assert_eq!(first, import(file, included), "it is not the same each time");
    let lines =
        |name: &str| if name == "a.conf" { file } else { included }.split(|byte| *byte == b'\n').count();
    match first {
        Ok((yaml, problems)) => {
            assert!(yaml.len() <= data.len() * GROWTH.0 + GROWTH.1, "{} bytes of {}", yaml.len(), data.len());
            for (file, line, reason) in problems {
                assert!((1..=lines(&file)).contains(&usize::try_from(line).unwrap()), "{file}:{line}");
                is_printable(&reason);
            }
            super::import_servers::is_accepted(&yaml);
        }
        Err(Failed::Broken(broken)) => {
            let line = usize::try_from(broken.line).unwrap();
            assert!((1..=lines(&broken.file)).contains(&line) && broken.column >= 1, "{broken}");
            is_printable(&broken.to_string());
        }
        Err(Failed::Unreadable(message) | Failed::NothingToServe { message, .. }) => is_printable(&message),
    }
}

type Outcome = Result<(String, Vec<(String, u32, String)>), Failed>;

fn import(file: &[u8], included: &[u8]) -> Outcome {
    let mut read = |path: &str, from: Option<&str>| match from {
        None => Ok(Found { name: path.to_owned(), bytes: file.to_vec() }),
        Some(_) if path.contains("missing") => Err("cannot read it".to_owned()),
        Some(_) => Ok(Found { name: "included".to_owned(), bytes: included.to_vec() }),
    };
    let mut list = |folder: &str, _: Option<&str>| match folder.contains(".d") {
        true => Ok(vec!["b.conf".to_owned(), "a.conf~".to_owned()]),
        false => Err("cannot read the folder".to_owned()),
    };
    let files = ["a.conf".to_owned()];
    let local = ["192.168.0.0/16".parse().unwrap()];
    let imported = dnsmasq::import(&files, Sources::new(&mut read, &mut list), &local)?;
    let problems = imported.problems.into_iter().map(|it| (it.file, it.line, it.reason)).collect();
    Ok((imported.yaml, problems))
}

fn is_printable(text: &str) {
    assert!(!text.is_empty() && text.len() < 4000 && !text.contains(char::is_control), "{text:?}");
}
