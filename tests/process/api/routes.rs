//! Every route: the right request, and its wrong ones.

use lanboot::api::endpoints::ENDPOINTS;
use lanboot::probe::Kind;
use support::client::Client;
use support::lab::boot;

use super::client::Site;
use super::schema::{description, problems, schema_of};

const MACHINES: &str = "machines:\n  - {name: one, mac: '02:00:00:00:00:01', address: 127.77.0.9}\n  \
                        - {name: two, mac: '02:00:00:00:00:02'}\n\
                        targets: {rescue: {kernel: vmlinuz, initrd: initrd.img, cmdline: quiet}}\n";

#[test]
fn every_answer_is_as_openapi_describes_it() {
    let site = Site::new(MACHINES);
    let address = Client::new(&site.lab, 1).lease().expect("a lease");
    let described = description();
    for row in ENDPOINTS {
        if ["/api/v1/events", "/openapi.yaml", "/metrics"].contains(&row.path) {
            continue;
        }
        for (mac, leased) in
            [("02:00:00:00:00:01", address.to_string()), ("02:00:00:00:00:99", "10.9.9.9".into())]
        {
            let path = row.path.replace("{mac}", mac).replace("{address}", &leased);
            for answer in [
                site.ask_with_token(row.method.as_str(), &path),
                site.ask_control(row.method.as_str(), &path),
            ] {
                let schema = schema_of(&described, row.method.as_str(), row.path, answer.status);
                let wrong = problems(&described, &schema, &answer.json(), &format!("{} {path}", row.method));
                assert!(wrong.is_empty(), "{} {wrong:#?}", answer.status);
                assert_eq!(answer.field("content-type"), Some("application/json"), "{path}");
            }
        }
    }
    let answer = site.ask("GET", "/openapi.yaml", "");
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/yaml")));
    assert!(answer.body.starts_with("openapi: 3."));
}

#[test]
fn machines_leases_and_subnets_show_what_happened() {
    let site = Site::new(MACHINES);
    let machines = site.get("/api/v1/machines");
    assert_eq!(machines.as_array().unwrap().len(), 2, "{machines}");
    assert_eq!((&machines[0]["name"], &machines[0]["address"]), (&"one".into(), &"127.77.0.9".into()));
    boot(site.lab.ports, Kind::UefiX64, 7);
    let began = std::time::Instant::now();
    let machine = loop {
        let machines = site.get("/api/v1/machines");
        let is_done = |machine: &&serde_json::Value| {
            ["last_boot", "address", "stage"].iter().all(|field| machine[field].is_string())
        };
        if let Some(machine) = machines.get(2).filter(is_done) {
            break machine.clone();
        }
        assert!(began.elapsed() < support::lab::PATIENCE, "{machines}");
    };
    assert_eq!(
        (&machine["name"], &machine["arch"]),
        (&serde_json::Value::Null, &"uefi-x64".into()),
        "{machine}"
    );
    assert!(machine["result"].is_string() && machine["verdict"].is_null(), "{machine}");
    let mac = machine["mac"].as_str().unwrap();
    let one = site.get(&format!("/api/v1/machines/{mac}"));
    assert_eq!((&one["address"], one["boots"].as_array().unwrap().len()), (&machine["address"], 1));
    let boots = site.get("/api/v1/boots");
    assert_eq!((&boots[0]["mac"], &boots[0]["id"]), (&machine["mac"], &one["boots"][0]["id"]));
    let by_name = site.get("/api/v1/machines/one");
    assert_eq!((&by_name["mac"], &by_name["name"]), (&"02:00:00:00:00:01".into(), &"one".into()));
    let leases = site.get("/api/v1/leases");
    assert_eq!((&leases[0]["address"], &leases[0]["state"]), (&machine["address"], &"leased".into()));
    let subnets = site.get("/api/v1/subnets");
    assert_eq!((&subnets[0]["network"], &subnets[0]["leased"]), (&"127.0.0.0/8".into(), &1.into()));
    assert_eq!(site.get("/api/v1/status")["subnets"], subnets);
    let images = site.get("/api/v1/images");
    let names: Vec<&str> =
        images.as_array().unwrap().iter().filter_map(|image| image["file"].as_str()).collect();
    assert_eq!(names, ["boot.ipxe", "snponly.efi", "undionly.kpxe"]);
    assert_eq!(site.get("/api/v1/targets")[0]["name"], "rescue");
    let address = machine["address"].as_str().unwrap();
    let path = format!("/api/v1/leases/{address}/release");
    assert_eq!(site.ask_with_token("POST", &path).status, 200);
    assert_eq!(site.ask_with_token("POST", &path).status, 409, "it is free");
    assert_eq!(site.get("/api/v1/leases")[0]["state"], "released");
}

#[test]
fn wrong_requests_are_answered_with_a_json_error() {
    let site = Site::new("");
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/api/v1/boots/1", 400),
        ("GET", "/api/v1/boots/1-020000000001", 404),
        ("GET", "/api/v1/boots/1/pcap", 400),
        ("GET", "/api/v1/boots/1-020000000001/pcap", 404),
        ("POST", "/api/v1/doctor", 405),
        ("GET", "/api/v1/machines/x", 404),
        ("GET", "/api/v1/machines/%ff", 400),
        ("GET", "/api/v1/machines/02:00:00:00:00:77", 404),
        ("POST", "/api/v1/machines", 405),
        ("GET", "/api/v1/reload", 405),
        ("DELETE", "/api/v1/status", 405),
        ("POST", "/api/v1/leases/10.0.0.500/release", 400),
        ("POST", "/api/v1/leases/10.0.0.50/release", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/api/v1/../../healthz", 404),
    ] {
        let answer = site.ask_with_token(method, path);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(answer.json()["error"].is_string(), "{answer:?}");
        assert_eq!(site.ask_control(method, path).status, status, "{method} {path}");
    }
    let answer = site.ask("HEAD", "/healthz", "");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.field(name), Some(value), "{answer:?}");
    }
    assert!(answer.field("content-security-policy").unwrap().contains("default-src 'none'"));
    assert_eq!(answer.field("access-control-allow-origin"), None);
}

#[test]
fn without_a_wire_a_capture_says_why() {
    let site = Site::new("");
    boot(site.lab.ports, Kind::UefiX64, 7);
    let began = std::time::Instant::now();
    let id = loop {
        if let Some(id) = site.get("/api/v1/boots")[0]["id"].as_str() {
            break id.to_owned();
        }
        assert!(began.elapsed() < support::lab::PATIENCE, "no boot is listed");
    };
    let answer = site.ask("GET", &format!("/api/v1/boots/{id}/pcap"), "");
    assert_eq!(answer.status, 503, "{answer:?}");
    let why = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(why.contains("lo has no wire") && why.contains("tcpdump -i lo"), "{why}");
    let (_, mac) = id.split_once('-').unwrap();
    let output = site.lab.run(&["capture", mac]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
    assert!(said.starts_with("lanboot capture: no packets are captured: lo has no wire"), "{said}");
}

#[test]
fn doctor_lists_what_a_confined_server_cannot_look_at() {
    let site = Site::new("targets: {rescue: {kernel: nosuch, initrd: initrd.img}}\n");
    std::fs::remove_file(site.lab.path().join("boot-images/undionly.kpxe")).unwrap();
    let report = site.get("/api/v1/doctor");
    let findings = report["findings"].as_array().unwrap();
    let is_it = |finding: &&serde_json::Value| {
        finding["id"] == "loader_missing" && finding["what"].as_str().unwrap().contains("undionly.kpxe")
    };
    let missing = findings.iter().find(is_it).expect("a finding");
    assert!(missing["fix"].as_str().unwrap().starts_with("lanboot images add"), "{missing}");
    assert_eq!(report["ok"], false, "{report}");
    assert!(findings.iter().all(|finding| finding["id"] != "port_taken"), "its own ports: {report}");
    let left_out = report["not_looked_at"].as_array().unwrap();
    let firewall = left_out.iter().find(|check| check["id"] == "firewall").expect("the firewall");
    assert_eq!(firewall["command"], "sudo lanboot doctor");
    site.lab.write_config("nonsense: 1\n");
    // The last report is given again for ten seconds.
    assert_eq!(site.get("/api/v1/doctor"), report);
}

#[test]
fn a_reload_reports_the_problems_of_the_file() {
    let site = Site::new("");
    assert_eq!(site.ask_with_token("POST", "/api/v1/reload").status, 200);
    let good = std::fs::read_to_string(site.lab.config_file()).unwrap();
    site.lab.write_config("nonsense: 1\n");
    let answer = site.ask_with_token("POST", "/api/v1/reload");
    assert_eq!(answer.status, 422);
    assert!(answer.json()["error"].as_str().unwrap().contains("nonsense"), "{answer:?}");
    assert_eq!(site.ask_control("POST", "/reload").status, 422, "the path before version 1");
    site.lab.write_config(&good);
    assert_eq!(site.ask_control("POST", "/reload").status, 200);
    site.serving.wait_for("the configuration is reloaded");
}
