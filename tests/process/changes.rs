//! Changes of a person to the running server through the API: `once`, `pin` and `wake`, and the metrics. The real binary
//! on loopback, by its control socket.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::client::Client;
use support::lab::{Lab, Serving, lease};

const MACHINES: &str = "targets: {debian: {kernel: linux}, rescue: {kernel: rescue}}
machines:
  - {name: one, mac: '02:00:00:00:00:01', boot: local}
  - {name: two, mac: '02:00:00:00:00:02', boot: local, once: debian}
  - {name: three, uuid: 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab}
";

/// A lab with targets and machines.
fn lab() -> Lab {
    let lab = Lab::new();
    for name in ["linux", "rescue"] {
        fs::write(lab.path().join("boot-images").join(name), name).unwrap();
    }
    lab.write_config(&(lab.config() + MACHINES));
    lab
}

/// The status code and the body of the answer on the control socket.
fn ask_text(lab: &Lab, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(lab.path().join("state/control.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    // The server may answer and close before it has read all of a body that is too long.
    let _ = write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: lanboot\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn ask(lab: &Lab, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, body) = ask_text(lab, method, path, body);
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

/// Calls a route of the machine.
fn change(lab: &Lab, method: &str, machine: &str, route: &str, body: &str) -> (u16, Value) {
    ask(lab, method, &format!("/api/v1/machines/{machine}/{route}"), body)
}

fn set_once(lab: &Lab, machine: &str, target: &str) -> (u16, Value) {
    change(lab, "PUT", machine, "once", &json!({ "target": target }).to_string())
}

/// The script that the machine with this MAC gets.
fn script(lab: &Lab, mac: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, lab.http)).unwrap();
    write!(stream, "GET /{mac}/boot.ipxe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn reload(lab: &Lab, text: &str) {
    lab.write_config(text);
    let output = lab.run(&["reload"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn stored(lab: &Lab) -> Value {
    serde_json::from_str(&fs::read_to_string(lab.path().join("state/changes.json")).unwrap()).unwrap()
}

const ONE: &str = "02:00:00:00:00:01";
/// A machine without an entry.
const NINE: &str = "02:00:00:00:00:09";

#[test]
fn once_boots_a_target_at_the_next_start_only() {
    let lab = lab();
    let serving = lab.serve(&["serve"]);
    assert!(!script(&lab, ONE).contains("linux"));
    let (status, answer) = set_once(&lab, "one", "debian");
    assert_eq!((status, answer), (200, json!({"mac": ONE, "name": "one", "target": "debian"})));
    assert!(script(&lab, ONE).contains("linux"));
    let (status, answer) = set_once(&lab, "020000000009", "rescue");
    assert_eq!((status, answer), (200, json!({"mac": NINE, "name": null, "target": "rescue"})));
    assert!(script(&lab, NINE).contains("rescue"));
    serving.kill_9();
    let serving = lab.serve(&["serve"]);
    assert!(script(&lab, ONE).contains("linux") && script(&lab, NINE).contains("rescue"), "it survives");
    let done =
        format!("POST /{ONE}/done HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, lab.http)).unwrap();
    stream.write_all(done.as_bytes()).unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    assert!(!script(&lab, ONE).contains("linux"));
    assert_eq!(stored(&lab)["content"]["once"], json!([{"mac": NINE, "target": "rescue"}]));
    let cleared = |yes: bool| (200, json!({"mac": NINE, "name": null, "cleared": yes}));
    assert_eq!(change(&lab, "DELETE", NINE, "once", ""), cleared(true));
    assert!(!script(&lab, NINE).contains("rescue"));
    serving.kill_9();
    let _serving = lab.serve(&["serve"]);
    assert!(!script(&lab, ONE).contains("linux") && !script(&lab, NINE).contains("rescue"));
    let text = fs::read_to_string(lab.config_file()).unwrap();
    assert_eq!(text, lab.config() + MACHINES, "the user's file is never changed");
}

#[test]
fn once_comes_before_the_file_and_clearing_ends_both() {
    let lab = lab();
    let _serving = lab.serve(&["serve"]);
    let two = "02:00:00:00:00:02";
    assert!(script(&lab, two).contains("linux"));
    assert_eq!(set_once(&lab, "two", "rescue").0, 200);
    assert!(script(&lab, two).contains("rescue"));
    reload(&lab, &(lab.config() + MACHINES + "# A comment.\n"));
    assert!(script(&lab, two).contains("rescue"), "it survives a reload");
    let (status, answer) = change(&lab, "DELETE", "two", "once", "");
    assert_eq!((status, &answer["cleared"]), (200, &json!(true)));
    let after = script(&lab, two);
    assert!(!after.contains("rescue") && !after.contains("linux"), "{after}");
}

#[test]
fn a_once_whose_target_is_gone_is_reported() {
    let lab = lab();
    let serving = lab.serve(&["serve"]);
    assert_eq!(set_once(&lab, "one", "rescue").0, 200);
    reload(&lab, &(lab.config() + &MACHINES.replace(", rescue: {kernel: rescue}", "")));
    assert!(serving.wait_for("has no effect").contains("unknown target \"rescue\""));
    assert!(!script(&lab, ONE).contains("rescue"));
}

#[test]
fn wrong_changes_are_refused_with_the_reason() {
    let lab = lab();
    let _serving = lab.serve(&["serve"]);
    let target = json!({"target": "debian"}).to_string();
    let long = format!("{{\"target\": \"{}\"}}", "x".repeat(70_000));
    for (method, machine, route, body, status, why) in [
        ("PUT", "one", "once", r#"{"target": "debain"}"#, 422, "debian"),
        ("PUT", "four", "once", &target, 404, "four"),
        ("PUT", "ff:ff:ff:ff:ff:ff", "once", &target, 400, "network card"),
        ("PUT", "one", "once", "debian", 400, "body"),
        ("PUT", "one", "once", r#"{"target": "debian", "when": 1}"#, 400, "when"),
        ("PUT", "one", "once", r#"["debian"]"#, 400, "object"),
        ("PUT", "one", "once", r#"{"target": "debian", "target": "local"}"#, 400, "duplicate"),
        ("PUT", "one", "once", &long, 413, "larger"),
        ("POST", "one", "once", &target, 405, "method"),
        ("DELETE", "four", "once", "", 404, "four"),
        ("POST", "four", "pin", "", 404, "four"),
        ("POST", "one", "pin", "", 409, "no lease"),
        ("POST", "three", "pin", "", 409, "no MAC"),
        ("POST", "four", "wake", "", 404, "four"),
        ("POST", "three", "wake", "", 409, "no MAC"),
    ] {
        let (found, answer) = change(&lab, method, machine, route, body);
        let message = answer["error"].as_str().unwrap_or_default();
        assert!(found == status && message.contains(why), "{method} {machine} {route}: {found} {answer}");
    }
    assert!(!lab.path().join("state/changes.json").exists());
}

#[test]
fn a_pin_reserves_the_address_that_the_machine_has() {
    let lab = lab();
    let serving = lab.serve(&["serve"]);
    let address = lease(lab.ports, 1);
    let (status, answer) = change(&lab, "POST", ONE, "pin", "");
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["address"], json!(address));
    let yaml = answer["yaml"].as_str().unwrap();
    assert!(yaml.contains(&format!("name: \"one\", mac: \"{ONE}\", address: {address}")), "{yaml}");
    assert_eq!(change(&lab, "POST", "one", "pin", "").0, 200, "again");
    serving.kill_9();
    // The pool has this address alone, and it belongs to the machine.
    let one = lab.config().replace("127.77.0.50-127.77.255.99", &format!("{address}-{address}")) + MACHINES;
    lab.write_config(&one);
    let serving = lab.serve(&["serve"]);
    assert!(ask(&lab, "POST", &format!("/api/v1/leases/{address}/release"), "").0 == 200);
    let other = Client::new(&lab, 2).lease();
    assert_eq!(other, None, "it is given to another machine");
    assert_eq!(lease(lab.ports, 1), address);
    // The file comes before the pin.
    let reserved = format!("  - {{name: five, mac: '02:00:00:00:00:05', address: {address}}}\n");
    reload(&lab, &(one.clone() + &reserved));
    assert!(serving.wait_for("has no effect").contains("it is reserved for five"));
    reload(&lab, &one);
    assert_eq!(
        change(&lab, "DELETE", "one", "pin", ""),
        (200, json!({"mac": ONE, "name": "one", "cleared": true}))
    );
    assert_eq!(stored(&lab)["content"]["pins"], json!([]));
}

#[test]
fn a_pin_that_contradicts_the_file_is_refused() {
    let lab = lab();
    let _serving = lab.serve(&["serve"]);
    let address = lease(lab.ports, 1);
    reload(
        &lab,
        &(lab.config()
            + MACHINES
            + &format!("  - {{name: five, mac: '02:00:00:00:00:05', address: {address}}}\n")),
    );
    let (status, answer) = change(&lab, "POST", "one", "pin", "");
    assert!(status == 409 && answer["error"].as_str().unwrap().contains("reserved for five"), "{answer}");
}

#[test]
fn a_damaged_file_of_changes_is_reported_and_kept() {
    let lab = lab();
    let serving = lab.serve(&["serve"]);
    assert_eq!(set_once(&lab, "one", "debian").0, 200);
    serving.kill_9();
    let file = lab.path().join("state/changes.json");
    let damaged = fs::read_to_string(&file).unwrap().replace("00:01\"", "00:02\"");
    fs::write(&file, &damaged).unwrap();
    let serving = lab.serve(&["serve"]);
    assert!(serving.wait_for("changes.json").contains("checksum"));
    assert!(!script(&lab, ONE).contains("linux"));
    let (status, answer) = set_once(&lab, "one", "debian");
    assert!(status == 503 && answer["error"].as_str().unwrap().contains("changes.json"), "{answer}");
    assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
}

#[test]
fn wake_sends_a_magic_packet() {
    let _alone = support::one_at_a_time();
    let lab = lab();
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 9)) else {
        return eprintln!("SKIPPED: this user may not listen on port 9");
    };
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _serving = lab.serve(&["serve"]);
    let (status, answer) = change(&lab, "POST", "one", "wake", "");
    assert_eq!((status, answer), (200, json!({"mac": ONE, "name": "one", "interfaces": ["lo"]})));
    let mut packet = [0; 200];
    let (length, _) = socket.recv_from(&mut packet).unwrap();
    assert!(
        length == 102
            && packet[..6] == [0xff; 6]
            && packet[6..102].chunks(6).all(|mac| mac == [2, 0, 0, 0, 0, 1])
    );
}

#[test]
fn an_uploaded_image_is_served_after_boot_images() {
    let lab = lab();
    let _serving = lab.serve(&["serve"]);
    let put = |name: &str, body: &str| ask(&lab, "PUT", &format!("/api/v1/images/{name}"), body);
    assert_eq!(put("new.txt", "text").0, 409, "uploads are off");
    let listen = support::lab::free_tcp_port();
    let web = format!("web: {{listen: ['127.0.0.1:{listen}'], uploads: on, max_upload: 1MiB}}");
    reload(&lab, &(lab.config().replace("web: off", &web) + MACHINES));
    assert_eq!(put("new.txt", "text"), (200, json!({"name": "new.txt", "size": 4})));
    let get = |name: &str| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, lab.http)).unwrap();
        write!(stream, "GET /{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    assert_eq!(get("new.txt"), "text");
    assert_eq!(put("new.txt", "other").0, 200);
    assert_eq!(get("new.txt"), "other", "it is replaced");
    assert_eq!(put("%2Flinux%2F", "uploaded"), (200, json!({"name": "linux", "size": 8})));
    assert_eq!(get("linux"), "linux", "boot-images/ comes first");
    for (name, status) in [
        (".hidden", 400),
        ("x.j2", 400),
        ("manifest.json", 400),
        ("%2FManifest.json", 400),
        ("..%2Fx", 400),
        ("none%2Fx", 404),
        (&"x".repeat(2000), 400),
    ] {
        assert_eq!(put(name, "text").0, status, "{name}");
    }
    assert_eq!(put("large", &"x".repeat((1 << 20) + 1)).0, 413);
    let mut names: Vec<_> =
        fs::read_dir(lab.path().join("state/images")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["linux", "new.txt"], "nothing is left of the others");
    let (_, images) = ask(&lab, "GET", "/api/v1/images", "");
    let views = images.as_array().unwrap().iter();
    let uploaded: Vec<(&str, bool)> = views
        .map(|view| (view["file"].as_str().unwrap(), view["uploaded"].as_bool().unwrap()))
        .filter(|(name, _)| ["linux", "new.txt"].contains(name))
        .collect();
    assert_eq!(uploaded, [("linux", false), ("new.txt", true)], "the file that clients get");
}

/// The configuration of a lab whose web listener takes uploads of up to 64 MiB.
fn with_uploads(lab: &Lab) -> String {
    let listen = support::lab::free_tcp_port();
    let web = format!("web: {{listen: ['127.0.0.1:{listen}'], uploads: on, max_upload: 64MiB}}");
    lab.config().replace("web: off", &web)
}

/// Uploads more than the folder of uploads takes, and then an image for which it has room.
fn upload_too_much(lab: &Lab) {
    let put =
        |name: &str, size: usize| ask(lab, "PUT", &format!("/api/v1/images/{name}"), &"x".repeat(size)).0;
    let names = || -> Vec<_> {
        let entries = fs::read_dir(lab.path().join("state/images")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let (status, answer) = ask(lab, "PUT", "/api/v1/images/large", &"x".repeat(12 << 20));
    assert!(status == 507 && answer["error"].as_str().unwrap().contains("disk is full"), "{status} {answer}");
    assert!(names().is_empty(), "{:?}", names());
    assert_eq!(put("small", 1000), 200);
    assert_eq!(put("small", 12 << 20), 507);
    assert_eq!(names(), ["small"], "the image that is there stays");
    let stored = fs::read(lab.path().join("state/images/small")).unwrap();
    assert_eq!(stored.len(), 1000);
}

#[test]
fn a_disk_without_room_for_an_image_is_507() {
    let lab = lab();
    lab.write_config(&with_uploads(&lab));
    let folder = lab.path().join("state/images");
    fs::create_dir_all(&folder).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&folder).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return support::cannot("mount a tmpfs, which takes root");
    }
    let serving = lab.serve(&["serve"]);
    upload_too_much(&lab);
    assert!(Client::new(&lab, 1).lease().is_some(), "DHCP is not affected");
    drop(serving);
    let _ = Command::new("umount").arg("--lazy").arg(&folder).status();
}

#[test]
fn a_limit_of_the_size_of_files_is_507() {
    let lab = lab();
    lab.write_config(&with_uploads(&lab));
    let mut command = Command::new("sh");
    // The unit is 512 or 1024 bytes, and the database needs less than that.
    command.args(["-c", "ulimit -f 8192 && exec \"$@\"", "sh"]).arg(&*support::LANBOOT);
    command.arg("--config").arg(lab.config_file()).arg("serve");
    let serving = Serving::start(command);
    serving.wait_for("TFTP on ");
    upload_too_much(&lab);
}

/// The metrics on the control socket; `tests/process/api` asks the web listener.
#[test]
fn the_metrics_count_the_events() {
    let lab = lab();
    let serving = lab.serve(&["serve"]);
    lease(lab.ports, 1);
    script(&lab, ONE);
    reload(&lab, &(lab.config() + MACHINES));
    let has_samples = |serving: &Serving, samples: &[&str]| {
        serving.wait_for("DHCPACK");
        let (status, text) = ask_text(&lab, "GET", "/metrics", "");
        assert_eq!(status, 200);
        for sample in samples {
            assert!(text.contains(sample), "{sample} is not in\n{text}");
        }
    };
    has_samples(
        &serving,
        &[
            "lanboot_dhcp_messages_total{direction=\"received\",type=\"discover\"} 1\n",
            "lanboot_dhcp_messages_total{direction=\"sent\",type=\"ack\"} 1\n",
            "lanboot_dhcp_reply_seconds_count 2\n",
            "lanboot_lease_commit_seconds_count 1\n",
            "lanboot_dhcp_pool_addresses{subnet=\"127.0.0.0/8\",state=\"leased\"} 1\n",
            "lanboot_http_requests_total{result=\"sent\"} 1\n",
            "lanboot_config_reloads_total{result=\"ok\"} 1\n",
            "lanboot_store_up 1\n",
            "# EOF\n",
        ],
    );
}
