//! Parsing a configuration: any text is accepted or refused quickly, with problems that have a position in it.

/// Longer input finds nothing new, and takes longer.
const MOST: usize = 4096;

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(&data[..data.len().min(MOST)]);
    if let Err(problems) = lanboot::config::load(&text) {
        assert!(!problems.is_empty());
        for problem in problems {
            let text = problem.to_string();
            assert!(!text.is_empty() && !text.contains('\x1b'), "{text:?}");
        }
    }
}
