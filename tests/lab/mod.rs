//! What the tests with real machines share: the rule for skipping, a server on a private network, its database.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lanboot::cli::demo::lab::{self, Need, Network, Running};
use tempfile::TempDir;

/// The binary under test.
pub const LANBOOT: &str = env!("CARGO_BIN_EXE_lanboot");

/// The address of the server on its private network.
pub const SERVER: &str = "192.168.77.1";

/// Whether the test named can run: it needs root and what `needs` lists. When it cannot, this says so on stderr, past
/// the test harness, which would swallow it; with CI=true it fails instead, so that no check is lost unseen.
pub fn ready(test: &str, needs: &[&[Need]]) -> bool {
    allowed(test, lab::obstacles(&needs.concat(), "-E env PATH=\"$PATH\" tests/run"))
}

/// As [`ready`], for a test that needs programs but not root.
pub fn ready_without_root(test: &str, needs: &[&[Need]]) -> bool {
    allowed(test, lab::missing(&needs.concat()))
}

fn allowed(test: &str, obstacles: Vec<String>) -> bool {
    if obstacles.is_empty() {
        return true;
    }
    let why = obstacles.join("; ");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot run and CI=true: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
    false
}

/// Held by each test that keeps a core busy with an emulated machine: one at a time, or its waits run out.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static QEMU: Mutex<()> = Mutex::new(());
    // A test that failed while holding it has left nothing behind that matters.
    QEMU.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks `is_so` until it is true, for at most 20 s.
pub fn until(mut is_so: impl FnMut() -> bool, what: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "in 20 s it did not come true that {what}");
        sleep(Duration::from_millis(50));
    }
}

/// A private network and a folder with config.yaml and boot-images/. The fields are dropped in this order.
pub struct Site {
    pub network: Network,
    pub folder: TempDir,
}

impl Site {
    /// A network on which the server has [`SERVER`], with `files` in boot-images/.
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::Builder::new().prefix("lanboot-test-").tempdir().unwrap();
        fs::create_dir(folder.path().join("boot-images")).unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join("boot-images").join(name), bytes).unwrap();
        }
        Self { network: Network::new(&format!("{SERVER}/24")).unwrap(), folder }
    }

    /// Writes config.yaml: `rest` after the interface, the folders, and HTTP and metrics off.
    pub fn configure(&self, rest: &str) -> PathBuf {
        let path = self.folder.path();
        let text = format!(
            "interfaces: [{}]\nstate: {}\nimages: {}\nhttp: off\nmetrics: off\n{rest}\n",
            lab::BRIDGE,
            path.join("state").display(),
            path.join("boot-images").display(),
        );
        let file = path.join("config.yaml");
        fs::write(&file, text).unwrap();
        file
    }

    /// `lanboot serve`, ready.
    pub fn serve(&self, config: &Path) -> Running {
        lab::serve(&self.network, &[OsStr::new(LANBOOT)], config).unwrap()
    }

    /// The lease in the database for a hardware address, `52:54:00:77:00:01`.
    pub fn lease(&self, mac: &str) -> Option<Lease> {
        let wanted: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let database = rusqlite::Connection::open(self.folder.path().join("state/leases.db")).unwrap();
        let mut query = database.prepare("SELECT address, hardware, state, until FROM leases").unwrap();
        let rows = query.query_map([], |row| {
            let lease = Lease {
                address: Ipv4Addr::from(row.get::<_, u32>(0)?).to_string(),
                active: row.get::<_, u32>(2)? == 0,
                until: row.get(3)?,
            };
            Ok((row.get::<_, Vec<u8>>(1)?, lease))
        });
        // The hardware column may have the hardware type before the address.
        let mut found = rows.unwrap().map(Result::unwrap).filter(|(hardware, _)| hardware.ends_with(&wanted));
        found.next().map(|(_, lease)| lease)
    }
}

/// A row of the lease table, src/store/sqlite.rs.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    pub address: String,
    /// Leased, neither released nor declined.
    pub active: bool,
    /// Seconds since 1970.
    pub until: i64,
}

impl Lease {
    /// Seconds from now to the lease's end; negative when it is over.
    pub fn remaining(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.until - i64::try_from(now).unwrap()
    }
}
