//! Privileges of the real server, started as root: the user that it becomes, the capabilities that its threads keep,
//! the owner of its state folder, and that it can serve with these. Needs root. Each server runs in a mount namespace
//! where other files replace /etc/passwd and /etc/group.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};

use lanboot::probe::{Kind, Progress};
use support::lab::{Lab, Serving, boot, lanboot, lease};

/// The user `lanboot` of these tests, who also has a second group.
const LANBOOT: u32 = 49_151;
const GROUP: u32 = 49_152;
const EXTRA_GROUP: u32 = 49_153;
/// A user without a name.
const OWNER: u32 = 49_160;

fn is_root(test: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    assert!(is_root || std::env::var("CI").as_deref() != Ok("true"), "{test} needs root and CI=true");
    if !is_root {
        eprintln!("SKIPPED privileges {test}: needs root");
    }
    is_root
}

/// A lab whose folder every user can read.
fn open_lab() -> Lab {
    let lab = Lab::new();
    set_mode(lab.path(), 0o755);
    lab
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

fn owner(path: &Path) -> (u32, u32) {
    let meta = path.symlink_metadata().unwrap();
    (meta.uid(), meta.gid())
}

/// `lanboot` with these arguments on a computer that has the user and the group `lanboot`.
fn with_user_lanboot(lab: &Lab, arguments: &[&str]) -> Command {
    let etc = lab.path().join("etc");
    fs::create_dir_all(&etc).unwrap();
    let stand_in = |name: &str, more: &str| {
        fs::write(etc.join(name), fs::read_to_string(Path::new("/etc").join(name)).unwrap() + more).unwrap();
    };
    stand_in("passwd", &format!("lanboot:x:{LANBOOT}:{GROUP}::/:/usr/sbin/nologin\n"));
    stand_in("group", &format!("lanboot:x:{GROUP}:\nextra:x:{EXTRA_GROUP}:lanboot\n"));
    let mut command = lanboot(&[]);
    let program = command.get_program().to_owned();
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-c"]);
    unshare.arg(
        "mount --bind \"$1/passwd\" /etc/passwd; mount --bind \"$1/group\" /etc/group; shift; exec \"$@\"",
    );
    unshare.arg("sh").arg(etc).arg(program).arg("--config").arg(lab.config_file()).args(arguments);
    for (name, value) in command.stdin(std::process::Stdio::null()).get_envs() {
        match value {
            Some(value) => unshare.env(name, value),
            None => unshare.env_remove(name),
        };
    }
    unshare.stdin(std::process::Stdio::null());
    unshare
}

fn serve_with_user_lanboot(lab: &Lab, arguments: &[&str]) -> Serving {
    let serving = Serving::start(with_user_lanboot(lab, arguments));
    serving.wait_for("TFTP on ");
    serving
}

/// Asserts that every thread of the server runs as this user with these groups, and has exactly two capabilities,
/// permanently.
fn assert_rights(serving: &Serving, uid: u32, gid: u32, groups: &[u32]) {
    let tasks: Vec<_> = fs::read_dir(format!("/proc/{}/task", serving.pid())).unwrap().flatten().collect();
    assert!(tasks.len() > 5, "threads of DHCP, TFTP and HTTP");
    for task in tasks {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
            line.unwrap_or_else(|| panic!("no {key} in {status}")).split_whitespace().collect::<Vec<_>>()
        };
        assert_eq!(value("Uid"), [&*uid.to_string(); 4], "{status}");
        assert_eq!(value("Gid"), [&*gid.to_string(); 4], "{status}");
        let mut has: Vec<u32> = value("Groups").iter().map(|group| group.parse().unwrap()).collect();
        has.sort_unstable();
        assert_eq!(has, groups, "{status}");
        // CAP_NET_BIND_SERVICE is 10 and CAP_NET_RAW 13 in linux/capability.h.
        let two = format!("{:016x}", 1 << 10 | 1 << 13);
        for key in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(value(key), [&two], "{key} of {status}");
        }
        for key in ["CapInh", "CapAmb"] {
            assert_eq!(value(key), [&format!("{:016x}", 0)], "{key} of {status}");
        }
        assert_eq!(value("NoNewPrivs"), ["1"], "{status}");
    }
}

fn assert_serves(lab: &Lab) {
    let booted = boot(lab.ports, Kind::UefiX64, 1);
    assert!(matches!(booted.last, Some(Progress::Finished { .. })), "{:?}", booted.last);
    lease(lab.ports, 2);
    assert_eq!(lab.leases().len(), 2, "stored");
}

#[test]
fn s_15_root_becomes_the_user_lanboot_which_owns_the_state_folder() {
    if !is_root("s_15_root_becomes_the_user_lanboot_which_owns_the_state_folder") {
        return;
    }
    let lab = open_lab();
    let state = lab.path().join("state");
    // The folder as an older version left it: owned by root, and open to all users. Two of the names are links to other
    // places.
    let serving = lab.serve(&["serve"]);
    lease(lab.ports, 3);
    serving.kill_9();
    let outside = lab.path().join("outside");
    fs::write(&outside, "other").unwrap();
    fs::remove_file(state.join("leases.ballast")).unwrap();
    symlink(&outside, state.join("once.json")).unwrap();
    fs::hard_link(&outside, state.join("leases.old")).unwrap();
    set_mode(&outside, 0o644);
    set_mode(&state, 0o755);
    let files = ["leases.db", "leases.db-wal", "leases.db-shm", "leases.lock"];
    files.iter().for_each(|name| set_mode(&state.join(name), 0o644));

    let serving = serve_with_user_lanboot(&lab, &["serve"]);
    serving.wait_for("runs as lanboot with only the capabilities CAP_NET_BIND_SERVICE and CAP_NET_RAW");
    assert_rights(&serving, LANBOOT, GROUP, &[GROUP, EXTRA_GROUP]);
    assert_eq!((owner(&state), mode(&state)), ((LANBOOT, GROUP), 0o750));
    for name in files.into_iter().chain(["leases.ballast"]) {
        let file = state.join(name);
        assert_eq!((owner(&file), mode(&file)), ((LANBOOT, GROUP), 0o640), "{name}");
    }
    let socket = state.join("control.sock");
    assert!(socket.symlink_metadata().unwrap().file_type().is_socket());
    assert_eq!((owner(&socket), mode(&socket)), ((LANBOOT, GROUP), 0o660));
    assert_eq!((owner(&outside), mode(&outside)), ((0, 0), 0o644), "what links lead to");
    lease(lab.ports, 3);
    let booted = boot(lab.ports, Kind::UefiX64, 1);
    assert!(matches!(booted.last, Some(Progress::Finished { .. })), "{:?}", booted.last);
    let (status, lines) = serving.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(lines.iter().all(|line| !line.contains("stays root")), "{lines:#?}");
    assert_eq!(lab.leases().len(), 2);
}

#[test]
fn s_15_commands_of_root_leave_the_leases_to_the_server() {
    if !is_root("s_15_commands_of_root_leave_the_leases_to_the_server") {
        return;
    }
    let lab = open_lab();
    let state = lab.path().join("state");
    let ran = |command: &mut Command| -> Output {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    };
    fs::create_dir(&state).unwrap();
    set_mode(&state, 0o750);
    chown(&state, Some(LANBOOT), Some(GROUP)).unwrap();
    let imported = lab.path().join("dnsmasq.leases");
    fs::write(&imported, "4102444800 02:00:00:00:00:09 127.77.0.99 node9 *\n").unwrap();
    ran(&mut with_user_lanboot(&lab, &["leases", "import", imported.to_str().unwrap()]));
    ran(&mut with_user_lanboot(&lab, &["leases"]));
    let all_are_lanboots = || {
        let files: Vec<_> = fs::read_dir(&state).unwrap().flatten().collect();
        assert!(files.iter().any(|file| file.file_name() == "leases.db"));
        for file in files {
            let (path, open) = (file.path(), mode(&file.path()) & 0o027);
            assert_eq!((owner(&path), open & 0o007), ((LANBOOT, GROUP), 0), "{}", path.display());
        }
    };
    all_are_lanboots();
    let serving = serve_with_user_lanboot(&lab, &["serve"]);
    assert_serves_another(&lab);
    ran(&mut with_user_lanboot(&lab, &["leases", "release", "127.77.0.99"]));
    serving.kill_9();
    ran(&mut with_user_lanboot(&lab, &["leases"]));
    ran(&mut with_user_lanboot(&lab, &["leases", "release", "02:00:00:00:00:04"]));
    all_are_lanboots();
    let serving = serve_with_user_lanboot(&lab, &["serve"]);
    assert_serves_another(&lab);
    assert_eq!(serving.terminate().0.code(), Some(0));
}

fn assert_serves_another(lab: &Lab) {
    lease(lab.ports, 4);
}

#[test]
fn s_15_a_lanboot_that_cannot_read_the_files_is_not_taken() {
    if !is_root("s_15_a_lanboot_that_cannot_read_the_files_is_not_taken") {
        return;
    }
    // config.yaml, the folder of boot files, or their parent folder.
    for closed in ["config.yaml", "boot-images", ""] {
        let lab = open_lab();
        chown(lab.path(), Some(OWNER), Some(OWNER)).unwrap();
        for path in [lab.config_file(), lab.path().join("boot-images")] {
            chown(path, Some(OWNER), Some(OWNER)).unwrap();
        }
        set_mode(&lab.path().join(closed), if closed == "config.yaml" { 0o600 } else { 0o700 });
        let serving = serve_with_user_lanboot(&lab, &["serve"]);
        serving.wait_for(&format!("runs as {OWNER} with only the capabilities"));
        assert_rights(&serving, OWNER, OWNER, &[OWNER]);
        let state = lab.path().join("state");
        assert_eq!((owner(&state), mode(&state)), ((OWNER, OWNER), 0o750));
        assert_serves(&lab);
        assert_eq!(serving.terminate().0.code(), Some(0));
    }
}

#[test]
fn s_15_root_stays_root_without_rights_and_says_how_to_make_the_user() {
    if !is_root("s_15_root_stays_root_without_rights_and_says_how_to_make_the_user") {
        return;
    }
    let lab = Lab::new();
    let serving = lab.serve(&["serve"]);
    assert_rights(&serving, 0, 0, &[0]);
    let line = serving.wait_for("the server stays root");
    assert!(line.contains("WARN") && line.contains("`useradd --system --no-create-home"), "{line}");
    assert_serves(&lab);
    let (status, lines) = serving.terminate();
    assert_eq!(status.code(), Some(0));
    assert_eq!(lines.iter().filter(|line| line.contains("stays root")).count(), 1, "{lines:#?}");
}

#[test]
fn s_15_the_user_can_be_named() {
    if !is_root("s_15_the_user_can_be_named") {
        return;
    }
    let lab = open_lab();
    let serving = lab.serve(&["serve", "--user", &OWNER.to_string()]);
    assert_rights(&serving, OWNER, OWNER, &[OWNER]);
    assert_serves(&lab);
    drop(serving);
    let serving = lab.serve(&["serve", "--user", "root"]);
    assert_rights(&serving, 0, 0, &[0]);
    let (_, lines) = serving.terminate();
    assert!(lines.iter().all(|line| !line.contains("stays root")), "it was asked for: {lines:#?}");
    assert_eq!(owner(&lab.path().join("state/leases.db")), (0, 0), "and has it back");

    let unknown = lab.run(&["serve", "--user", "nosuchuser"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no such user"));
}

#[test]
fn s_15_a_state_folder_with_other_things_in_it_is_not_given_away() {
    if !is_root("s_15_a_state_folder_with_other_things_in_it_is_not_given_away") {
        return;
    }
    let lab = open_lab();
    chown(lab.path(), Some(OWNER), Some(OWNER)).unwrap();
    let etc = lab.path().join("state");
    fs::create_dir_all(etc.join("ssh")).unwrap();
    let refused = lab.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(3));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("set `state` to a folder that is for lanboot alone"), "{why}");
    assert_eq!((owner(&etc), owner(&etc.join("ssh"))), ((0, 0), (0, 0)));

    // A link that the folder's owner made does not lead root anywhere.
    fs::remove_dir_all(&etc).unwrap();
    let victim = lab.path().join("victim");
    fs::create_dir(&victim).unwrap();
    symlink(&victim, &etc).unwrap();
    std::os::unix::fs::lchown(&etc, Some(OWNER), Some(OWNER)).unwrap();
    let refused = lab.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(3), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(owner(&victim), (0, 0));
}

#[test]
fn s_15_other_users_give_up_their_rights_too() {
    if !is_root("s_15_other_users_give_up_their_rights_too") {
        return;
    }
    let lab = open_lab();
    let state = lab.path().join("state");
    fs::create_dir(&state).unwrap();
    chown(&state, Some(OWNER), Some(OWNER)).unwrap();
    let program = lab.path().join("lanboot");
    fs::copy(env!("CARGO_BIN_EXE_lanboot"), &program).unwrap();
    let as_owner = |capabilities: &str, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={OWNER}"), &format!("--regid={OWNER}"), "--clear-groups"]);
        command.args([&format!("--inh-caps={capabilities}"), &format!("--ambient-caps={capabilities}")]);
        command.arg(&program).arg("--config").arg(lab.config_file()).args(arguments);
        command
    };
    let serving = Serving::start(as_owner("-all,+net_raw,+net_bind_service,+net_admin,+setpcap", &["serve"]));
    serving.wait_for("TFTP on ");
    assert_rights(&serving, OWNER, OWNER, &[]);
    assert_eq!(mode(&state), 0o750, "it was 0755");
    assert_serves(&lab);
    drop(serving);
    let refused = as_owner("-all", &["serve", "--user", "root"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("only root can"));
}

/// The configuration, and folders beside it, can still be read. Another folder of boot files cannot.
#[test]
fn s_15_a_reload_works_without_the_rights_of_root() {
    if !is_root("s_15_a_reload_works_without_the_rights_of_root") {
        return;
    }
    let lab = open_lab();
    let serving = serve_with_user_lanboot(&lab, &["serve"]);
    let is_confined = serving.wait_for("runs as ").contains("; confined to its folders");
    let pool = ("127.77.0.50-127.77.255.99", "127.78.0.50-127.78.0.99");
    lab.write_config(&lab.config().replace(pool.0, pool.1));
    let output = lab.run(&["reload"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lease(lab.ports, 1).octets()[1], 78);
    let elsewhere = tempfile::tempdir().unwrap();
    set_mode(elsewhere.path(), 0o755);
    lab.write_config(&(lab.config() + &format!("images: {}\n", elsewhere.path().display())));
    let output = lab.run(&["reload"]);
    let shown = String::from_utf8_lossy(&output.stderr);
    if is_confined {
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(shown.starts_with("images: ") && shown.contains("needs a restart"), "{shown}");
        assert_serves(&lab);
    } else {
        eprintln!("SKIPPED: this kernel has no Landlock");
    }
}
