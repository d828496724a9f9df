//! Code shared by several test binaries: clients, servers, networks, and the rule for skipping a test.

pub mod client;
pub mod firmware;
pub mod fuzz;
pub mod lab;
pub mod side_by_side;
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
/// this is derived from their path: `target/debug/lanboot` for `target/debug/deps/process-0123456789abcdef`. The
/// environment variable `LANBOOT` names another one; `tests/long` measures a release build so.
pub static LANBOOT: LazyLock<String> = LazyLock::new(|| {
    if let Some(program) = env::var_os("LANBOOT") {
        let program = Path::new(&program).canonicalize().expect("LANBOOT names a program");
        return program.into_os_string().into_string().expect("LANBOOT is a UTF-8 path");
    }
    let test = env::current_exe().expect("a test knows its own path");
    let folder = test.parent().and_then(Path::parent).expect("tests are built in target/PROFILE/deps");
    let program = folder.join("lanboot");
    assert!(program.exists(), "{} is missing: run this by `cargo test`", program.display());
    program.into_os_string().into_string().expect("the build folder has a UTF-8 path")
});

/// Whether `program` can be run. `package` is the Debian package that contains it.
///
/// A test whose program is missing prints a clear message and passes. Under `CI=true` it fails instead, because
/// everything must be installed there.
pub fn need(program: &str, package: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| is_program(&folder.join(program))) {
        return true;
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var("CI").as_deref() != Ok("true"), "{test}: {program} is missing: install {package}");
    // Not eprintln!, because the test harness hides its output if the test passes.
    let _ = writeln!(io::stderr(), "SKIPPED {test}: install {package} (for {program})");
    false
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Prints a clear message that a test cannot run, so that it passes. Under `CI=true` it fails instead.
pub fn cannot(what: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var("CI").as_deref() != Ok("true"), "{test}: cannot {what}");
    let _ = writeln!(io::stderr(), "SKIPPED {test}: cannot {what}");
}

/// Copies the program to `to`, where other users can run it, because they may have no access to the build folder.
/// Another process makes the copy. If this process wrote it, a child of another test could inherit the open file, and
/// the program could then not be run.
pub fn copy_program(to: &Path) {
    let copied = Command::new("cp").arg(&*LANBOOT).arg(to).status().unwrap();
    assert!(copied.success());
}

/// The name by which the test harness runs one test, from the test's `module_path!()` and its function.
pub fn test_name(module_path: &str, function: &str) -> String {
    match module_path.split_once("::") {
        Some((_, modules)) => format!("{modules}::{function}"),
        None => function.to_owned(),
    }
}

/// Held by tests that count the resources of the whole process, and by tests that measure times of a few seconds or
/// less. In each binary one such test runs at a time. All other tests run beside it.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed while it held the lock leaves no state that matters.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Held by tests that keep the cores busy for long and measure no short times. In each binary one such test runs at a
/// time, beside one of [`one_at_a_time`].
pub fn one_busy_at_a_time() -> MutexGuard<'static, ()> {
    static BUSY: Mutex<()> = Mutex::new(());
    BUSY.lock().unwrap_or_else(PoisonError::into_inner)
}
