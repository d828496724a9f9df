//! Prints the result of `lanboot check`, as text or as JSON.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::computer::{Finding, Findings};
use crate::cli::output;
use crate::config::Problem;

/// Problems and notes, in the order in which they are printed.
pub(super) struct Report {
    path: PathBuf,
    problems: Vec<Line>,
    notes: Vec<Line>,
    /// One line about a configuration without problems.
    pub(super) summary: String,
}

/// One problem or note. The names in JSON are stable.
#[derive(Serialize)]
struct Line {
    /// `file`, `template`, `rehearsal`, or a part of this computer: `interfaces`, `addresses`, `ports`, `folders`,
    /// `database` or `firewall`.
    about: &'static str,
    /// The file of the configuration; `null` for this computer.
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    key: Option<String>,
    message: String,
    /// The source line with a caret under it, for errors of the syntax.
    excerpt: Option<String>,
    /// The line of the text output.
    #[serde(skip)]
    text: String,
}

/// The whole output as JSON.
#[derive(Serialize)]
struct Json<'r> {
    ok: bool,
    file: String,
    summary: Option<&'r str>,
    problems: &'r [Line],
    notes: &'r [Line],
}

impl Report {
    pub(super) fn new(path: PathBuf) -> Report {
        Report { path, problems: Vec::new(), notes: Vec::new(), summary: String::new() }
    }

    pub(super) fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn file(&mut self, problems: Vec<Problem>) {
        let lines: Vec<Line> = problems.into_iter().map(|problem| self.placed(problem)).collect();
        self.problems.extend(lines);
        // Problems of `config.yaml` come before those of the files that it includes.
        let main = self.path.display().to_string();
        self.problems.sort_by_cached_key(|line| {
            (line.file.clone().filter(|file| *file != main), line.line, line.column)
        });
    }

    pub(super) fn file_note(&mut self, note: Problem) {
        let line = self.placed(note);
        self.notes.push(line);
    }

    fn placed(&self, problem: Problem) -> Line {
        let main = self.path.display();
        Line {
            about: "file",
            text: problem.in_file(&main),
            file: Some(problem.file.as_ref().map_or_else(|| main.to_string(), ToString::to_string)),
            line: Some(problem.line),
            column: Some(problem.column),
            key: (!problem.path.is_empty()).then_some(problem.path),
            message: problem.message,
            excerpt: problem.excerpt,
        }
    }

    /// A problem of a template in the folder `images`.
    pub(super) fn template(&mut self, images: &str, line: &str) {
        let line = self.of_template(images, line);
        self.problems.push(line);
    }

    pub(super) fn template_note(&mut self, images: &str, line: &str) {
        let line = self.of_template(images, line);
        self.notes.push(line);
    }

    /// Problems of targets begin with a key of the configuration instead of a file name.
    fn of_template(&self, images: &str, line: &str) -> Line {
        let text = match line.starts_with("targets.") {
            true => format!("{}: {line}", self.path.display()),
            false => format!("{images}/{line}"),
        };
        plain("template", line.to_owned(), text)
    }

    pub(super) fn rehearsal(&mut self, failure: String) {
        let text = format!("{}: {failure}", self.path.display());
        self.problems.push(plain("rehearsal", failure, text));
    }

    /// Results about this computer.
    pub(super) fn computer(&mut self, found: Findings) {
        let line = |Finding { part, message }| {
            let text = format!("this computer: {message}");
            plain(part, message, text)
        };
        self.problems.extend(found.problems.into_iter().map(line));
        self.notes.extend(found.notes.into_iter().map(line));
    }

    /// Prints everything. The exit code is 1 if there is any problem.
    pub(super) fn print(&self, json: bool) -> ExitCode {
        if json {
            return self.print_json();
        }
        self.notes.iter().for_each(|note| output::print_error(format_args!("note: {}", note.text)));
        self.problems.iter().for_each(|problem| output::print_error(&problem.text));
        let file = self.path.display();
        if self.is_ok() {
            return output::print(&format!("{file}: ok: {}\n", self.summary));
        }
        let of_file = self.problems.iter().filter(|line| line.about == "file").count();
        if of_file > 0 {
            let s = if of_file == 1 { "" } else { "s" };
            output::print_error(format_args!("{file}: {of_file} problem{s}"));
        }
        ExitCode::FAILURE
    }

    fn print_json(&self) -> ExitCode {
        let view = Json {
            ok: self.is_ok(),
            file: self.path.display().to_string(),
            summary: self.is_ok().then_some(&self.summary),
            problems: &self.problems,
            notes: &self.notes,
        };
        let text = serde_json::to_string_pretty(&view).unwrap_or_default();
        let code = output::print(&format!("{text}\n"));
        if self.is_ok() { code } else { ExitCode::FAILURE }
    }
}

fn plain(about: &'static str, message: String, text: String) -> Line {
    Line { about, file: None, line: None, column: None, key: None, message, excerpt: None, text }
}
