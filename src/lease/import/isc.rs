//! Reads ISC dhcpd's `dhcpd.leases` (manual page dhcpd.leases(5)): `lease ADDRESS { statement; … }`, appended whenever
//! a lease changes, and `host NAME { … }`. All other blocks and statements are skipped.

use std::net::Ipv4Addr;

use crate::lease::binding::{FOREVER, Holder, Lease, State};
use crate::lease::import::entry::Found;
use crate::lease::import::host::{Host, client_id, hardware};
use crate::lease::import::lexer::{Flaw, Kind, Lexer, Token};
use crate::lease::import::place::{Place, Problem};
use crate::lease::import::values::{mac_of, parse};
use crate::types::{ClientId, Escaped, HardwareAddr, Timestamp};

/// The number of words kept of a statement. Statements that matter here have at most four.
const MAX_WORDS: usize = 6;
/// The maximum nesting of blocks; dhcpd writes three levels.
const MAX_DEPTH: u64 = 32;

/// A reader of `dhcpd.leases`.
#[derive(Debug, Default)]
pub(super) struct Isc {
    lexer: Lexer,
    parser: Parser,
}

impl Isc {
    pub fn read(&mut self, piece: &[u8], found: &mut dyn FnMut(Found)) {
        for byte in piece {
            self.lexer.read(*byte, &mut |token| self.parser.take(token, found));
        }
    }

    pub fn end(mut self, found: &mut dyn FnMut(Found)) {
        let place = self.lexer.end(&mut |token| self.parser.take(token, found));
        self.parser.close_all(place, "the file ends", found);
    }
}

#[derive(Debug, Default)]
struct Parser {
    /// The words of the incomplete statement.
    words: Vec<Token>,
    /// The number of open blocks.
    depth: u64,
    /// The lease in the outermost open block, if that is a lease.
    draft: Option<Draft>,
    /// The machine in the outermost open block, if that is one.
    host: Option<Host>,
}

/// The statements read of a lease.
#[derive(Debug)]
struct Draft {
    place: Place,
    address: Option<Ipv4Addr>,
    hardware: Option<(u8, HardwareAddr)>,
    client_id: Option<Vec<u8>>,
    until: Option<Timestamp>,
    is_active: bool,
    /// The first problem found in it.
    problem: Option<Problem>,
}

impl Parser {
    fn take(&mut self, token: Token, found: &mut dyn FnMut(Found)) {
        // dhcpd begins every lease in column 1 with this word, and nothing else. So a torn or damaged entry never hides
        // the rest of the file.
        if token.kind == Kind::Word && token.place.column == 1 && token.bytes == b"lease" {
            self.close_all(token.place, "the next lease begins", found);
        }
        if token.flaw == Flaw::Unterminated {
            self.report(token.place, "expected a `\"` that ends this text on its line".to_owned(), found);
        }
        match token.kind {
            Kind::Word | Kind::Text if self.words.len() < MAX_WORDS => self.words.push(token),
            Kind::Word | Kind::Text => {}
            Kind::Open => self.open(token.place, found),
            Kind::Close => self.close(token.place, found),
            Kind::End => {
                let words = std::mem::take(&mut self.words);
                if let Some(draft) = self.draft.as_mut().filter(|_| self.depth == 1) {
                    draft.statement(&words);
                } else if let Some(host) = self.host.as_mut().filter(|_| self.depth == 1) {
                    host.statement(&words);
                } else if self.depth == 0 && words.first().is_some_and(|word| word.bytes == b"lease") {
                    self.report(token.place, "expected `{` after the address of a lease".to_owned(), found);
                }
            }
        }
    }

    fn open(&mut self, place: Place, found: &mut dyn FnMut(Found)) {
        let words = std::mem::take(&mut self.words);
        self.depth = self.depth.saturating_add(1);
        if self.depth == 1 && words.first().is_some_and(|word| word.bytes == b"lease") {
            self.draft = Some(Draft::begin(place, &words));
        }
        if self.depth == 1 && words.first().is_some_and(|word| word.bytes == b"host") {
            self.host = Some(Host::begin(&words));
        }
        if self.depth == MAX_DEPTH + 1 {
            self.report(place, format!("expected no more than {MAX_DEPTH} blocks inside each other"), found);
        }
    }

    fn close(&mut self, place: Place, found: &mut dyn FnMut(Found)) {
        let unfinished = !std::mem::take(&mut self.words).is_empty();
        if self.depth == 0 || (unfinished && self.draft.is_some()) {
            let expected =
                if self.depth == 0 { "expected no `}`: nothing is open" } else { "expected `;` before `}`" };
            self.report(place, expected.to_owned(), found);
        }
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            self.finish(found);
        }
    }

    /// Closes all open blocks at `place`, with the reason `why`.
    fn close_all(&mut self, place: Place, why: &str, found: &mut dyn FnMut(Found)) {
        let unfinished = !std::mem::take(&mut self.words).is_empty();
        if self.depth > 0 || unfinished {
            let missing = if self.depth > 0 { "`}`" } else { "`;`" };
            self.report(place, format!("expected {missing} before {why}"), found);
        }
        self.depth = 0;
        self.finish(found);
    }

    /// Ends the outermost block.
    fn finish(&mut self, found: &mut dyn FnMut(Found)) {
        if let Some(draft) = self.draft.take() {
            found(draft.finish());
        }
        if let Some(host) = self.host.take().filter(|host| !host.is_empty()) {
            found(Found::Host(host));
        }
    }

    /// Records a problem in the current lease, or reports one outside of leases.
    fn report(&mut self, place: Place, message: String, found: &mut dyn FnMut(Found)) {
        match &mut self.draft {
            Some(draft) => draft.report(place, message),
            None => found(Found::Broken(Problem { place, message }, None)),
        }
    }
}

impl Draft {
    /// Begins the lease that is opened by `words` and a `{` at `place`.
    fn begin(place: Place, words: &[Token]) -> Draft {
        let at = words.get(1).map_or(place, |word| word.place);
        let address = words.get(1).filter(|_| words.len() == 2).and_then(|word| parse(&word.bytes));
        let mut draft = Draft {
            place: words.first().map_or(place, |word| word.place),
            address,
            hardware: None,
            client_id: None,
            until: None,
            is_active: true,
            problem: None,
        };
        if address.is_none() {
            draft.report(at, "expected an IPv4 address between `lease` and `{`".to_owned());
        }
        draft
    }

    fn report(&mut self, place: Place, message: String) {
        self.problem.get_or_insert(Problem { place, message });
    }

    fn statement(&mut self, words: &[Token]) {
        let Some((name, values)) = words.split_first() else { return };
        let read = match (name.bytes.as_slice(), values) {
            (b"uid", [id]) => client_id(id).map(|id| self.client_id = Some(id)),
            (b"uid", _) => None,
            (b"hardware", [kind, address]) => hardware(kind, address).map(|it| self.hardware = Some(it)),
            (b"hardware", _) => None,
            (b"ends", _) => time(values).map(|until| self.until = Some(until)),
            (b"starts", _) => time(values).map(|_| ()),
            (b"binding", [state, value]) if state.bytes == b"state" => {
                is_active(&value.bytes).map(|is_active| self.is_active = is_active)
            }
            (b"binding", _) => None,
            // Versions before 3.0 had this statement instead of states.
            (b"abandoned", []) => {
                self.is_active = false;
                Some(())
            }
            _ => Some(()),
        };
        if read.is_none() {
            let expected = match name.bytes.as_slice() {
                b"uid" => "a client identifier of at most 255 bytes, in quotes or as 01:52:54",
                b"hardware" => "a hardware type and address, as in `hardware ethernet 52:54:00:12:34:56`",
                b"binding" => "a state of ISC dhcpd, as in `binding state active`",
                _ => "`never`, `epoch SECONDS` or a moment like `2 2026/11/24 09:30:00`",
            };
            let at = values.first().map_or(name.place, |value| value.place);
            let got = values.iter().map(|value| &value.bytes[..]).collect::<Vec<_>>().join(&b' ');
            self.report(at, format!("expected {expected}, not `{}`", Escaped(&got)));
        }
    }

    /// Returns the entry of the finished lease.
    fn finish(mut self) -> Found {
        if self.problem.is_none() && self.is_active && self.until.is_none() {
            self.report(self.place, "expected `ends` in a lease that is active".to_owned());
        }
        let (hardware_type, hardware) = self.hardware.unwrap_or_default();
        let client = ClientId::new(hardware_type, hardware.as_bytes(), self.client_id.as_deref());
        if self.is_active && client.is_none() {
            self.report(self.place, "expected `hardware` or `uid` in a lease that is active".to_owned());
        }
        let address = self.address;
        match (self.problem, address) {
            (None, Some(address)) => {
                let mac = mac_of(hardware_type, hardware.as_bytes());
                let lease = client.zip(self.until).filter(|_| self.is_active).map(|(client, until)| Lease {
                    address,
                    holder: Holder { client, mac, is_boot_stage: false },
                    hardware,
                    state: State::Leased,
                    until,
                });
                Found::Entry(address, lease)
            }
            (problem, _) => {
                let nothing = || Problem { place: self.place, message: "expected an address".to_owned() };
                Found::Broken(problem.unwrap_or_else(nothing), address)
            }
        }
    }
}

/// Whether a lease in this state belongs to its client now. Returns `None` for an unknown state.
fn is_active(state: &[u8]) -> Option<bool> {
    match state {
        b"active" => Some(true),
        b"free" | b"backup" | b"expired" | b"released" | b"reset" | b"abandoned" => Some(false),
        _ => None,
    }
}

/// Reads `never`, `epoch 1700000000` or `2 2026/11/24 09:30:00`: the day of the week, then the time in UTC.
fn time(words: &[Token]) -> Option<Timestamp> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.bytes.as_slice()).collect();
    match words.as_slice() {
        [b"never"] => Some(FOREVER),
        [b"epoch", seconds] => parse(seconds).map(|seconds| Timestamp::from_seconds(seconds).min(FOREVER)),
        [weekday, date, time] => {
            let [year, month, day] = numbers(date, b'/')?;
            let [hour, minute, second] = numbers(time, b':')?;
            let fits = parse::<u64>(weekday)? < 7
                && year <= 9999
                && (1..=12).contains(&month)
                && (1..=31).contains(&day)
                && hour < 24
                && minute < 60
                && second <= 60;
            let days = if fits { days_since_1970(year, month, day)? } else { return None };
            Some(Timestamp::from_seconds(days * 86_400 + hour * 3600 + minute * 60 + second))
        }
        _ => None,
    }
}

/// Returns the days from 1970 to a Gregorian date; `None` for earlier dates.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    // Years are counted from March, so that a leap day is the last day of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    const OF_1970: u64 = 719_469;
    days.checked_sub(OF_1970)
}

fn numbers(text: &[u8], between: u8) -> Option<[u64; 3]> {
    let numbers: Option<Vec<u64>> = text.split(|byte| *byte == between).take(4).map(parse).collect();
    numbers?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::super::{Format, Found};
    use super::*;
    use crate::types::MacAddr;

    fn all(text: &str) -> Vec<Found> {
        read(Format::Isc, text.as_bytes(), 64)
    }

    fn lease(statements: &str) -> Lease {
        let text = format!("lease 10.0.0.1 {{\n{statements}\n}}\n");
        match &all(&text)[..] {
            [Found::Entry(_, Some(lease))] => lease.clone(),
            other => panic!("{text}: {other:?}"),
        }
    }

    /// Returns the problem of a lease with these statements, which begin on line 2.
    fn problem(statements: &str) -> String {
        let text = format!("lease 10.0.0.1 {{\n{statements}\n}}\n");
        match &all(&text)[..] {
            [Found::Broken(problem, Some(_))] => problem.to_string(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn times_are_weekday_epoch_or_never() {
        let ends = |text: &str| lease(&format!("hardware ethernet 2:0:0:0:0:1; ends {text};")).until;
        assert_eq!(ends("never"), FOREVER);
        assert_eq!(
            ends("epoch 1700000000; # Tue Nov 14 22:13:20 2023\n"),
            Timestamp::from_seconds(1_700_000_000)
        );
        assert_eq!(ends("epoch 99999999999999"), FOREVER);
        assert_eq!(ends("2 2023/11/14 22:13:20"), Timestamp::from_seconds(1_700_000_000));
        assert_eq!(ends("4 1970/01/01 00:00:00"), Timestamp(0));
        assert_eq!(ends("2 2000/02/29 23:59:59"), Timestamp::from_seconds(951_868_799));
        for text in [
            "4 1969/12/31 00:00:00",
            "7 2023/11/14 22:13:20",
            "2 2023/13/14 22:13:20",
            "2023/11/14",
            "",
            "epoch -1",
        ] {
            let found = problem(&format!("ends {text};"));
            assert!(found.contains("expected `never`, `epoch SECONDS` or a moment like"), "{found}");
        }
    }

    #[test]
    fn identities_are_hardware_and_uid() {
        let plain = lease("ends never; hardware ethernet 02:00:00:00:00:01;");
        assert_eq!(plain.holder.client, ClientId::of_mac(MacAddr([2, 0, 0, 0, 0, 1])));
        assert_eq!(plain.holder.mac, Some(MacAddr([2, 0, 0, 0, 0, 1])));
        for uid in [r#""\001\002\000\000\000\000\001""#, "1:2:0:0:0:00:01", r#""\x01\002\000\000\0\0\1""#] {
            let same = lease(&format!("ends never; hardware ethernet 02:00:00:00:00:01; uid {uid};"));
            assert_eq!(same.holder, plain.holder, "{uid}");
        }
        let named = lease(r#"ends never; hardware ethernet 02:00:00:00:00:01; uid "\000a\\b\"c\377";"#);
        assert_eq!(named.holder.client.as_bytes(), b"\0a\\b\"c\xff");
        let ring = lease("ends never; hardware token-ring 02:00:00:00:00:01;");
        assert_eq!((ring.holder.client.as_bytes(), ring.holder.mac), (&[6, 2, 0, 0, 0, 0, 1][..], None));
        assert_eq!(
            lease(&format!("ends never; uid {};", ["ab"; 255].join(":"))).holder.client.as_bytes().len(),
            255
        );
        for wrong in [["ab"; 256].join(":"), format!("\"{}\"", "a".repeat(256)), "xy".into(), "01 02".into()]
        {
            assert!(
                problem(&format!("ends never;\n uid {wrong};"))
                    .starts_with("3:6: expected a client identifier")
            );
        }
        assert_eq!(problem("ends never;"), "1:1: expected `hardware` or `uid` in a lease that is active");
        assert_eq!(problem("uid \"ab\";"), "1:1: expected `ends` in a lease that is active");
    }

    #[test]
    fn only_active_leases_count() {
        let state = |state: &str| {
            all(&format!("lease 10.0.0.1 {{ binding state {state}; uid \"ab\"; ends never; }}"))
        };
        assert!(matches!(&state("active")[..], [Found::Entry(_, Some(_))]));
        for free in ["free", "backup", "expired", "released", "reset", "abandoned"] {
            assert!(matches!(&state(free)[..], [Found::Entry(_, None)]), "{free}");
        }
        assert!(matches!(&state("odd")[..], [Found::Broken(..)]));
        assert!(matches!(&all("lease 10.0.0.1 { abandoned; }")[..], [Found::Entry(_, None)]));
    }

    #[test]
    fn other_statements_are_skipped() {
        let text = "server-duid \"\\000\\001\";\nauthoring-byte-order little-endian;\nfailover peer \"a\" state {\n my \
                    state normal at 2 2023/11/14 22:13:20;\n}\nlease 10.0.0.1 {\n ends never;\n uid \"ab\";\n next \
                    binding state free;\n set vendor-class-identifier = \"}\";\n client-hostname \"lease\";\n on \
                    expiry or release { if a { set b = \"c\"; } }\n bootp;\n}\nhost x { }\n";
        assert!(matches!(&all(text)[..], [Found::Entry(_, Some(_))]));
    }

    #[test]
    fn r_34_host_blocks_become_entries_of_machines() {
        let text = "host n1 {\n dynamic;\n hardware ethernet 52:54:00:12:34:56;\n fixed-address 10.0.0.9;\n}\n\
                    host n2 { uid 01:aa; fixed-address a.example; }\nhost n3 { dynamic; deleted; }\nhost \"my pc\" { hardware \
                    ethernet 2:0:0:0:0:1; }\n";
        let entries: Vec<Option<String>> = all(text)
            .into_iter()
            .map(|found| match found {
                Found::Host(host) => host.entry().filter(|_| !host.is_deleted),
                other => panic!("{other:?}"),
            })
            .collect();
        let [first, second, deleted, last] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(first.as_deref(), Some("- {name: n1, mac: \"52:54:00:12:34:56\", address: 10.0.0.9}"));
        assert_eq!(second.as_deref(), Some("- {name: n2, id: \"hex:01aa\"}"));
        assert_eq!(*deleted, None);
        assert_eq!(last.as_deref(), Some("- {mac: \"02:00:00:00:00:01\"}"));
    }

    #[test]
    fn r_34_a_host_keeps_all_of_its_addresses() {
        let text =
            "host n1 { hardware ethernet 2:0:0:0:0:1; fixed-address 10.0.0.9, 10.1.0.9, a.example; }\n";
        let [Found::Host(host)] = &all(text)[..] else { panic!() };
        let entry = "- {name: n1, mac: \"02:00:00:00:00:01\", address: [10.0.0.9, 10.1.0.9]}";
        assert_eq!(host.entry().as_deref(), Some(entry));
    }

    #[test]
    fn a_broken_entry_does_not_hide_the_next() {
        let sound = "lease 10.0.0.2 {\n  ends never;\n  uid \"ab\";\n}\n";
        for (broken, expected) in [
            ("lease 10.0.0.1 {\n  uid \"ab;\n  ends never;\n}\n", "2:7: expected a `\"` that ends this text"),
            (
                "lease 10.0.0.1 {\n  uid \"ab\";\n  ends 2 2023/",
                "4:1: expected `}` before the next lease begins",
            ),
            ("lease 10.0.0.1 {\n  uid \"ab\"\n}\n", "3:1: expected `;` before `}`"),
            ("lease ten {\n}\n", "1:7: expected an IPv4 address between"),
            ("lease {\n}\n", "1:7: expected an IPv4 address between"),
            ("lease 10.0.0.1;\n", "1:15: expected `{` after the address"),
            ("}\n", "1:1: expected no `}`"),
            ("key", "2:1: expected `;` before the next lease begins"),
        ] {
            let broken = if broken.ends_with('\n') { broken.to_owned() } else { format!("{broken}\n") };
            let found = all(&format!("{broken}{sound}"));
            let [Found::Broken(problem, _), Found::Entry(_, Some(_))] = &found[..] else {
                panic!("{broken}: {found:?}")
            };
            assert!(problem.to_string().starts_with(expected), "{problem}");
        }
        let torn = all("lease 10.0.0.1 {\n  ends ");
        assert!(matches!(&torn[..], [Found::Broken(_, Some(_))]), "{torn:?}");
    }

    #[test]
    fn d_16_nesting_and_word_length_are_bounded() {
        let deep = format!("lease 10.0.0.1 {{ on commit {}", "{".repeat(100_000));
        let found = all(&format!("{deep}\nlease 10.0.0.2 {{ ends never; uid \"ab\"; }}"));
        let [Found::Broken(problem, Some(_)), Found::Entry(..)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(problem.to_string(), "1:59: expected no more than 32 blocks inside each other");
        let long = "ab:".repeat(100_000);
        let found = problem_of_uid(&long);
        assert!(
            found.starts_with("1:23: expected a client identifier of at most 255 bytes") && found.len() < 400,
            "{found}"
        );
    }

    fn problem_of_uid(uid: &str) -> String {
        match &all(&format!("lease 10.0.0.1 {{ uid  {uid}; ends never; }}"))[..] {
            [Found::Broken(problem, _)] => problem.to_string(),
            other => panic!("{other:?}"),
        }
    }
}
