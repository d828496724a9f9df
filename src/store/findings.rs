//! What a start found out about the leases of the last run: none was there, or some are lost.

use std::path::Path;

use crate::store::count::{COUNT, Noted};
use crate::store::integrity::Content;

/// What to say about a database that can be used. Whoever opens it says so before the first commit, which notes the new
/// state in place of the old one.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Findings {
    /// Said at a start without a database: the server then has no leases at all.
    pub new: Option<String>,
    /// What is lost, or may be: a line for each.
    pub losses: Vec<String>,
}

/// What follows for the people who read it.
const CONSEQUENCE: &str = "addresses that were leased in them may be given to other clients: if there is a backup of the \
                           state folder, restore it and start again (docs/leases.md)";

impl Findings {
    /// All lines: what is new, then what is lost.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.new.iter().chain(&self.losses).map(String::as_str)
    }

    /// There is no database in the folder `state`.
    pub(super) fn without_database(state: &Path, noted: &Noted) -> Findings {
        let folder = state.display();
        let new = Some(no_leases(state));
        let losses = match noted {
            Noted::Nothing => Vec::new(),
            Noted::Damaged => vec![format!(
                "{folder}/{COUNT} says that there was a lease database, which is gone: {CONSEQUENCE}"
            )],
            Noted::Commit(noted) => vec![format!(
                "lost the lease database in {folder} with {} leases ({} commits): {CONSEQUENCE}",
                noted.rows, noted.commits
            )],
        };
        Findings { new, losses }
    }

    /// Compares the database at `path` with what was noted outside of it and with its log, which had `lost_in_log` commits
    /// that could not be recovered.
    pub(super) fn compare(path: &Path, noted: &Noted, content: &Content, lost_in_log: u64) -> Findings {
        let mut losses = Vec::new();
        let (file, count) = (path.display(), path.with_file_name(COUNT));
        let count = count.display();
        if let Some(found) = content.integrity {
            match noted {
                Noted::Commit(noted) if noted.database != found.database => losses.push(format!(
                    "{file} is not the lease database that was used last, which had {} leases after {} commits: \
                     {CONSEQUENCE}",
                    noted.rows, noted.commits
                )),
                Noted::Commit(noted) if noted.commits > found.commits => losses.push(format!(
                    "lost the last {} commits of {file}: it or its log was damaged, cut or replaced by an older one; \
                     {CONSEQUENCE}",
                    noted.commits.saturating_sub(found.commits)
                )),
                Noted::Commit(noted)
                    if noted.commits == found.commits && noted.sum != found.sum && !content.is_edited =>
                {
                    losses.push(format!(
                        "{file} does not have the leases that were stored by its last commit: {CONSEQUENCE}"
                    ));
                }
                Noted::Commit(_) => {}
                // The first commit of a new database is stored before it is noted.
                Noted::Nothing | Noted::Damaged if found.commits <= 1 => {}
                Noted::Nothing => losses.push(format!(
                    "{count} is missing: whether the last commits of {file} were lost cannot be said; it is written again"
                )),
                Noted::Damaged => losses.push(format!(
                    "{count} is damaged: whether the last commits of {file} were lost cannot be said; it is written again"
                )),
            }
        } else if let Noted::Commit(noted) = noted {
            losses.push(format!(
                "{file} is not the lease database that was used last, which had {} leases after {} commits: \
                 {CONSEQUENCE}",
                noted.rows, noted.commits
            ));
        }
        let rows = content.rows.totals().rows;
        if let (true, Noted::Commit(noted)) = (content.is_edited && losses.is_empty(), noted)
            && i64::try_from(rows).is_ok_and(|rows| rows < noted.rows)
        {
            losses.push(format!(
                "another program removed leases from {file}: {} were stored, {rows} are left; {CONSEQUENCE}",
                noted.rows
            ));
        }
        if lost_in_log > 0 && losses.is_empty() {
            losses.push(format!(
                "the log of {file} is damaged: {lost_in_log} or more commits after the damage cannot be read and may be \
                 lost; {CONSEQUENCE}"
            ));
        }
        // A start that was killed may have made it, or a person emptied it.
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
