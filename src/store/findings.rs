//! Compares the lease database with the record of the last commit, and describes what is missing: the whole database,
//! or some of its leases. A start and the `leases` command report the result.

use std::path::Path;

use crate::store::count::{COMMITS_FILE, Recorded};
use crate::store::integrity::Content;

/// Findings about a usable database. Report them before the first commit, because that commit overwrites the record
/// of the previous state.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Findings {
    /// Message for a start without any leases.
    pub new: Option<String>,
    /// One message per known or possible loss.
    pub losses: Vec<String>,
}

/// Consequence and advice, appended to every message about lost leases.
const CONSEQUENCE: &str = "addresses that were leased in them may be given to other clients: if there is a backup of the \
                           state folder, restore it and start again (docs/leases.md)";

impl Findings {
    /// All messages, the one about a new database first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.new.iter().chain(&self.losses).map(String::as_str)
    }

    /// Findings if there is no database in the folder `state`.
    pub(super) fn without_database(state: &Path, recorded: &Recorded) -> Findings {
        let folder = state.display();
        let new = Some(no_leases(state));
        let losses = match recorded {
            Recorded::Missing => Vec::new(),
            Recorded::Damaged => vec![format!(
                "{folder}/{COMMITS_FILE} says that there was a lease database, which is gone: {CONSEQUENCE}"
            )],
            Recorded::Commit(recorded) => vec![format!(
                "lost the lease database in {folder} with {} leases ({} commits): {CONSEQUENCE}",
                recorded.rows, recorded.commits
            )],
        };
        Findings { new, losses }
    }

    /// Compares the database at `path` with the record of the last commit and with its write-ahead log. `lost_in_log`
    /// is the number of commits in the log that could not be recovered.
    pub(super) fn compare(path: &Path, recorded: &Recorded, content: &Content, lost_in_log: u64) -> Findings {
        let mut losses = Vec::new();
        let (file, count) = (path.display(), path.with_file_name(COMMITS_FILE));
        let count = count.display();
        if let Some(found) = content.integrity {
            match recorded {
                Recorded::Commit(recorded) if recorded.database != found.database => losses.push(format!(
                    "{file} is not the lease database that was used last, which had {} leases after {} commits: \
                     {CONSEQUENCE}",
                    recorded.rows, recorded.commits
                )),
                Recorded::Commit(recorded) if recorded.commits > found.commits => losses.push(format!(
                    "lost the last {} commits of {file}: it or its log was damaged, cut or replaced by an older one; \
                     {CONSEQUENCE}",
                    recorded.commits.saturating_sub(found.commits)
                )),
                Recorded::Commit(recorded)
                    if recorded.commits == found.commits && recorded.sum != found.sum && !content.is_edited =>
                {
                    losses.push(format!(
                        "{file} does not have the leases that were stored by its last commit: {CONSEQUENCE}"
                    ));
                }
                Recorded::Commit(_) => {}
                // A new database stores its first commit before it records it.
                Recorded::Missing | Recorded::Damaged if found.commits <= 1 => {}
                Recorded::Missing => losses.push(format!(
                    "{count} is missing: whether the last commits of {file} were lost cannot be said; it is written again"
                )),
                Recorded::Damaged => losses.push(format!(
                    "{count} is damaged: whether the last commits of {file} were lost cannot be said; it is written again"
                )),
            }
        } else if let Recorded::Commit(recorded) = recorded {
            losses.push(format!(
                "{file} is not the lease database that was used last, which had {} leases after {} commits: \
                 {CONSEQUENCE}",
                recorded.rows, recorded.commits
            ));
        }
        let rows = content.rows.totals().rows;
        if let (true, Recorded::Commit(recorded)) = (content.is_edited && losses.is_empty(), recorded)
            && i64::try_from(rows).is_ok_and(|rows| rows < recorded.rows)
        {
            losses.push(format!(
                "another program removed leases from {file}: {} were stored, {rows} are left; {CONSEQUENCE}",
                recorded.rows
            ));
        }
        if lost_in_log > 0 && losses.is_empty() {
            losses.push(format!(
                "the log of {file} is damaged: {lost_in_log} or more commits after the damage cannot be read and may be \
                 lost; {CONSEQUENCE}"
            ));
        }
        // A start that was killed may have created the database, or a person emptied it.
        let is_unused = content.integrity.is_none_or(|found| found.commits == 0) || !losses.is_empty();
        let new = (rows == 0 && is_unused).then(|| no_leases(path.parent().unwrap_or(path)));
        Findings { new, losses }
    }
}

fn no_leases(state: &Path) -> String {
    format!(
        "starting with 0 leases in {}: there is no lease database yet; if clients have leases from here already, restore \
         the folder from a backup and start again",
        state.display()
    )
}
