//! Replays every file of the fuzzers' corpora, and every input that ever failed, through the checks that found them.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use proptest::prelude::*;
use support::fuzz;

/// Runs `check` on every file in `folder`, and names the files that fail. Returns the number of files.
fn replay(folder: &Path, check: fn(&[u8])) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let fails = |file: &&std::path::PathBuf| {
        let bytes = fs::read(file).unwrap();
        catch_unwind(AssertUnwindSafe(|| check(&bytes))).is_err()
    };
    let failed: Vec<_> = files.iter().filter(fails).collect();
    assert!(failed.is_empty(), "these break what {} must hold: {failed:#?}", folder.display());
    files.len()
}

fn replay_all(target: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let (_, check) = fuzz::TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let kept = replay(&root.join("corpus").join(target), *check);
    assert!(kept >= 100, "the corpus of {target} is missing");
    replay(&root.join("regressions").join(target), *check);
}

#[test]
fn corpus_of_dhcp_decode() {
    replay_all("dhcp_decode");
}

#[test]
fn corpus_of_dhcp_decide() {
    replay_all("dhcp_decide");
}

#[test]
fn corpus_of_dhcp_sequence() {
    replay_all("dhcp_sequence");
}

#[test]
fn corpus_of_config() {
    replay_all("config");
}

#[test]
fn corpus_of_leases_import() {
    replay_all("leases_import");
}

#[test]
fn corpus_of_import_dnsmasq() {
    replay_all("import_dnsmasq");
}

#[test]
fn corpus_of_import_kea() {
    replay_all("import_kea");
}

#[test]
fn corpus_of_import_dhcpd() {
    replay_all("import_dhcpd");
}

#[test]
fn corpus_of_tftp_request() {
    replay_all("tftp_request");
}

#[test]
fn corpus_of_tftp_transfer() {
    replay_all("tftp_transfer");
}

#[test]
fn corpus_of_http_request() {
    replay_all("http_request");
}

#[test]
fn every_target_has_its_corpus_replayed() {
    let text = include_str!("corpus.rs");
    for (target, _) in fuzz::TARGETS {
        assert!(text.contains(&format!("fn corpus_of_{target}()")), "{target}");
    }
}

// The same checks with random bytes.
proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn well_formed_messages_read_as_dhcproto_reads_them(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        fuzz::decode::check(&bytes);
    }

    #[test]
    fn no_message_breaks_a_rule_of_replies(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz::decide::check(&bytes);
    }

    #[test]
    fn any_configuration_of_dnsmasq_is_translated_or_refused(
        lines in prop::collection::vec(
            "(dhcp-(range|host|option|boot|match|ignore|mac)|tag-if|pxe-service|domain)=\\PC{0,40}|[ -~\t]{0,30}", 0..12
        )
    ) {
        fuzz::import_dnsmasq::check(lines.join("\n").as_bytes());
    }

    #[test]
    fn any_configuration_of_kea_is_translated_or_refused(
        entries in prop::collection::vec(
            "\"(option-data|subnet4|client-classes|reservations|boot-file-name|next-server|valid-lifetime)\": \
             (\"[ !#-~]{0,20}\"|[0-9]{1,12}|\\[\\{\"(name|subnet|test|data|pools)\": \"[ !#-~]{0,20}\"\\}\\]),?", 0..8
        )
    ) {
        let subnet = "\"subnet4\": [{\"subnet\": \"10.0.0.0/24\"";
        let text = format!("{{\"Dhcp4\": {{{subnet}, {}}}], {}}}}}", entries.join(" "), entries.join(" "));
        fuzz::import_servers::check_kea(text.as_bytes());
    }

    #[test]
    fn any_configuration_of_dhcpd_is_translated_or_refused(
        lines in prop::collection::vec(
            "(option (domain-name|root-path|routers|host-name|tftp-server-name)|filename|server-name|next-server|range|\
             default-lease-time|fixed-address|hardware ethernet|match if|include) (\"[ -!#-~]{0,20}\"|[0-9a-f:.]{1,15});|\
             (host|class|subnet|group|pool|if) [ -~]{0,12}\\{|\\}", 0..12
        )
    ) {
        let text = format!("subnet 10.0.0.0 netmask 255.255.255.0 {{\n{}", lines.join("\n"));
        fuzz::import_servers::check_dhcpd(format!("{text}\n}}").as_bytes());
        fuzz::import_servers::check_dhcpd(text.as_bytes());
    }

    #[test]
    fn no_conversation_gives_one_address_to_two(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
        fuzz::sequence::check(&bytes);
    }

    #[test]
    fn no_request_gets_other_bytes_than_its_head_says(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
        fuzz::http::check(&bytes);
    }

    #[test]
    fn no_path_and_no_timer_spoil_a_download(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
        fuzz::transfer::check(&bytes);
    }
}
