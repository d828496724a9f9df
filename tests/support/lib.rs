//! Code that several test binaries share: clients, servers, networks, and the rule for skipping a test.

pub mod client;
pub mod firmware;
pub mod fuzz;
pub mod lab;
pub mod site;
pub mod tftp_live;
pub mod tftp_server;
pub mod world;

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// The path of the binary under test. Only test binaries know it when they are compiled (`CARGO_BIN_EXE_lanboot`), so
/// this is derived from theirs: `target/debug/deps/process-0123456789abcdef` stands beside `target/debug/lanboot`.
pub static LANBOOT: LazyLock<String> = LazyLock::new(|| {
    let test = env::current_exe().expect("a test knows its own path");
    let folder = test.parent().and_then(Path::parent).expect("tests are built in target/PROFILE/deps");
    let program = folder.join("lanboot");
    assert!(program.exists(), "{} is missing: run this by `cargo test`", program.display());
    program.into_os_string().into_string().expect("the build folder has a UTF-8 path")
});

/// Whether `program` can be run; `package` is Debian's name of what has it.
///
/// A test that needs a program and has not got it says so loudly and passes. Under `CI=true` it fails instead: there
/// everything must have been installed.
pub fn need(program: &str, package: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| is_program(&folder.join(program))) {
        return true;
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var("CI").as_deref() != Ok("true"), "{test}: {program} is missing: install {package}");
    // Not eprintln!, which the test harness hides for a test that passes.
    let _ = writeln!(io::stderr(), "SKIPPED {test}: install {package} (for {program})");
    false
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Says loudly that a test cannot do what it needs, and so passes; under `CI=true` it fails instead.
pub fn cannot(what: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var("CI").as_deref() != Ok("true"), "{test}: cannot {what}");
    let _ = writeln!(io::stderr(), "SKIPPED {test}: cannot {what}");
}

/// Copies the program to `to`, where other users can run it: the build folder may be closed to them. Not written by this
/// process, for a child that another test starts meanwhile would have it open for writing, and then it cannot be run.
pub fn copy_program(to: &Path) {
    let copied = Command::new("cp").arg(&*LANBOOT).arg(to).status().unwrap();
    assert!(copied.success());
}

/// The name by which the test harness runs one test, given the test's `module_path!()` and its function.
pub fn test_name(module_path: &str, function: &str) -> String {
    match module_path.split_once("::") {
        Some((_, modules)) => format!("{modules}::{function}"),
        None => function.to_owned(),
    }
}

/// Held by a test that keeps the cores busy or counts what the whole process has open, and by a test that measures
/// times of a few seconds or less. One such test runs at a time in each binary. All other tests run beside it.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed while it held this has left nothing behind that matters.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
