//! A network with a server under test and machines that fail in it, and the check of their verdicts.

use std::fs;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use lanboot::cli::demo::network::{Namespace, Network, Running, run};
use lanboot::types::MacAddr;
use serde_json::Value;
use support::LANBOOT;
use support::firmware::BOOT_LIMIT;
use support::site::{Site, until};

use super::client::{Client, enter};

/// The longest wait for a verdict after a machine has failed. The limits of silence are 60 s at most.
const LONGEST: Duration = Duration::from_secs(100);
/// The time from the end of a limit until the verdict is given: the journeys look at boots each 250 ms.
const SLACK_MS: i64 = 1000;

/// The longest time that a machine may work between two packets: the shortest limit of silence is five seconds.
const LONGEST_WORK: Duration = Duration::from_secs(3);
/// The number of times that a story is played on a computer that is too busy for it.
const TRIES: u32 = 3;

/// The time in which a machine that seemed to be stuck goes on: the longest pause of firmware, and five seconds.
const GOES_ON: Duration = Duration::from_secs(40);
/// A machine that is silent for longer may get a verdict.
const SILENCE_MS: i64 = 5000;

/// In [`Wanted::newer`]: the machine's first boot.
const OLDEST: usize = usize::MAX;

/// A verdict that a machine must get.
pub struct Wanted {
    pub id: &'static str,
    /// The stage of the boot.
    pub stage: &'static str,
    pub confidence: &'static str,
    /// Words that the cause and the advice must have.
    pub words: &'static [&'static str],
    /// The number of newer boots: 1 if the machine tries again after it failed; [`OLDEST`] if it does so forever.
    pub newer: usize,
    /// The longest time from the last event to the verdict, in seconds.
    pub limit: i64,
}

/// The outcome of a story.
pub enum Outcome {
    /// The boot gets this verdict, and no other one.
    Stuck(Wanted),
    /// It boots, and gets no verdict.
    Boots,
    /// The story checks it.
    Checked,
}

/// A verdict of the newest boot that is certain, and that is given within `limit` seconds of the last event.
pub const fn certain(
    id: &'static str,
    stage: &'static str,
    limit: i64,
    words: &'static [&'static str],
) -> Outcome {
    Outcome::Stuck(Wanted { id, stage, confidence: "certain", words, newer: 0, limit })
}

/// The same for a verdict that is likely.
pub const fn likely(
    id: &'static str,
    stage: &'static str,
    limit: i64,
    words: &'static [&'static str],
) -> Outcome {
    Outcome::Stuck(Wanted { id, stage, confidence: "likely", words, newer: 0, limit })
}

/// The machine tries again after it failed.
pub const fn then_again(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Stuck(wanted) => Outcome::Stuck(Wanted { newer: 1, ..wanted }),
        other => other,
    }
}

/// The machine tries again forever.
pub const fn then_forever(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Stuck(wanted) => Outcome::Stuck(Wanted { newer: OLDEST, ..wanted }),
        other => other,
    }
}

/// A machine and its failure.
pub struct Story {
    pub name: &'static str,
    /// Keys of its entry in `machines`, after name and MAC. Empty if it has no entry.
    pub entry: &'static str,
    pub wanted: Outcome,
    pub act: fn(&mut Client<'_>, &Place),
}

/// The MAC of story `number`.
pub fn mac(number: usize) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0x15, 1, u8::try_from(number).unwrap() + 1])
}

/// The lines of `machines` for these stories.
pub fn entries(stories: &[Story]) -> String {
    let with_entry = stories.iter().enumerate().filter(|(_, story)| !story.entry.is_empty());
    let lines = with_entry
        .map(|(n, story)| format!("  - {{name: {}, mac: '{}', {}}}\n", story.name, mac(n), story.entry));
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("machines:\n{lines}") }
}

/// A network with a server.
pub struct Place {
    /// The network behind the relay agent, if the machines are there.
    pub far: Option<Network>,
    pub site: Site,
    pub config: PathBuf,
    /// The address of the server for its clients.
    pub server: Ipv4Addr,
}

impl Place {
    /// A place whose server has this configuration. It is not started.
    pub fn new(site: Site, config: &str) -> Place {
        let config = site.configure(config);
        // A proxy has a control socket only where the folder exists, as in packages.
        fs::create_dir(site.folder.path().join("state")).unwrap();
        let place = Place { far: None, site, config, server: Ipv4Addr::new(192, 168, 77, 1) };
        let chains = ["input", "output", "forward"]
            .map(|hook| format!("chain {hook} {{\n type filter hook {hook} priority 0;\n}}\n"));
        place.nft(&format!("table bridge switch {{\n{}}}\n", chains.concat()));
        place
    }

    /// Loads rules into the namespace of the switch, which is the server's.
    pub fn nft(&self, text: &str) {
        let file = self.site.folder.path().join(format!("{:?}.nft", std::thread::current().id()));
        fs::write(&file, text).unwrap();
        run(self.site.network.namespace().command("nft").arg("-f").arg(&file)).unwrap();
    }

    /// The switch drops packets from the machine to the server.
    pub fn drop_from(&self, client: &Client<'_>, what: &str) {
        self.nft(&format!("add rule bridge switch input ether saddr {} {what} drop\n", client.mac));
    }

    /// The switch drops packets from the server to the machine.
    pub fn drop_to(&self, client: &Client<'_>, what: &str) {
        let port = switch_port(client.host);
        self.nft(&format!("add rule bridge switch output meta oif {port} {what} drop\n"));
    }

    /// The switch port of the machine is closed during `work`.
    pub fn while_closed(&self, host: &Namespace, work: impl FnOnce()) {
        let port = switch_port(host);
        let chains = [("input", "iif"), ("output", "oif")].map(|(hook, which)| {
            format!("chain {hook} {{\n type filter hook {hook} priority 0;\n meta {which} {port} drop\n}}\n")
        });
        self.nft(&format!("table bridge closed{port} {{\n{}}}\n", chains.concat()));
        work();
        self.nft(&format!("delete table bridge closed{port}\n"));
    }

    /// Runs a lanboot command. Returns its output and exit code.
    pub fn lanboot(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let output =
            Command::new(&*LANBOOT).arg("--config").arg(&self.config).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text + &String::from_utf8_lossy(&output.stderr), output.status.code())
    }

    /// The answer of `lanboot why`.
    pub fn why(&self, mac: MacAddr) -> Value {
        let (text, code) = self.lanboot(&["why", &mac.to_string(), "--json"]);
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(code, Some(i32::from(value.get("error").is_some())), "{text}");
        value
    }

    /// All machines act at the same time. Returns a line for each that does not get exactly its verdict.
    pub fn play(&self, stories: &[Story]) -> Vec<String> {
        let played = scope(|scope| {
            let threads: Vec<_> = stories
                .iter()
                .enumerate()
                .map(|(n, story)| scope.spawn(move || self.play_one(mac(n), story)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        played.into_iter().filter_map(Result::err).collect()
    }

    /// Plays the story of one machine to its end.
    pub fn play_one(&self, mac: MacAddr, story: &Story) -> Result<(), String> {
        self.play_up_to(TRIES, mac, story)
    }

    fn play_up_to(&self, tries: u32, mac: MacAddr, story: &Story) -> Result<(), String> {
        let network = self.far.as_ref().unwrap_or(&self.site.network);
        let host = network.host(&mac.to_string()).unwrap();
        let acted = catch_unwind(AssertUnwindSafe(|| {
            enter(&host);
            // Linux asks for a router when its card is up, at moments that are not those of the firmware.
            _ = fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1");
            self.wait_for_cable(&host);
            let mut client = Client::new(mac, &host, self.server);
            (story.act)(&mut client, self);
            client.worked
        }));
        let worked = acted.as_ref().map_or(Duration::ZERO, |worked| *worked);
        let panic = acted.err().map(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        });
        let judged = match panic {
            Some(panic) => Err(format!("the machine could not act: {panic}")),
            None => self.wait_for(mac, &story.wanted),
        };
        let why = match judged {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        let details = serde_json::to_string_pretty(&self.why(mac)).unwrap();
        let line = format!("---- {} ({mac}, worked for {worked:?}): {why}\n{details}", story.name);
        // It was silent for longer than a machine is, so a verdict about that silence was right.
        if worked > LONGEST_WORK && tries > 1 {
            eprintln!("played again: {line}");
            drop(host);
            return self.play_up_to(tries - 1, mac, story);
        }
        Err(line)
    }

    /// Waits until the switch forwards the packets of this host, because the first ones would be lost.
    fn wait_for_cable(&self, host: &Namespace) {
        until(
            || {
                let shown = run(Command::new("ip").args(["-o", "link", "show", "eth0"])).unwrap().stdout;
                String::from_utf8_lossy(&shown).contains("state UP")
            },
            "the network card is up",
        );
        let network = self.far.as_ref().unwrap_or(&self.site.network);
        let (name, port) = (network.namespace().name(), switch_port(host));
        until(
            || {
                let shown = run(Command::new("ip").args(["-n", name, "-o", "-d", "link"])).unwrap().stdout;
                let shown = String::from_utf8_lossy(&shown).into_owned();
                let line = shown.lines().find(|line| line.starts_with(&format!("{port}:")));
                line.is_some_and(|line| line.contains("bridge_slave state forwarding"))
            },
            "the switch port forwards",
        );
    }

    /// Waits for the outcome of a boot that has come to its end.
    fn wait_for(&self, mac: MacAddr, wanted: &Outcome) -> Result<(), String> {
        self.wait_until(mac, wanted, Instant::now() + LONGEST, false)
    }

    /// Waits for the outcome of a boot of real firmware that begins now. On a busy computer its virtual machine may be
    /// silent for longer than firmware is. A verdict about that silence is right if it is withdrawn.
    pub fn wait_for_boot(&self, mac: MacAddr, wanted: &Outcome) -> Result<(), String> {
        self.wait_until(mac, wanted, Instant::now() + BOOT_LIMIT, true)
    }

    fn wait_until(&self, mac: MacAddr, wanted: &Outcome, end: Instant, is_real: bool) -> Result<(), String> {
        let mut wrong_since: Option<Instant> = None;
        loop {
            let details = self.why(mac);
            match check(&details, wanted, is_real) {
                Verdict::Right => return Ok(()),
                Verdict::Wrong(_)
                    if is_real && wrong_since.get_or_insert_with(Instant::now).elapsed() < GOES_ON =>
                {
                    sleep(Duration::from_secs(1));
                }
                Verdict::Wrong(why) => return Err(why),
                Verdict::NotYet if Instant::now() > end => return Err("it got no verdict".to_owned()),
                Verdict::NotYet => sleep(Duration::from_secs(1)),
            }
        }
    }
}

/// The index of the interface at the other end of a host's cable.
fn switch_port(host: &Namespace) -> String {
    let mut command = Command::new("ip");
    let shown = run(command.args(["-n", host.name(), "-o", "link", "show", "eth0"])).unwrap().stdout;
    let shown = String::from_utf8_lossy(&shown).into_owned();
    let after = shown.split("@if").nth(1).expect("a cable");
    after.split(':').next().unwrap_or_default().to_owned()
}

enum Verdict {
    Right,
    NotYet,
    Wrong(String),
}

fn check(details: &Value, outcome: &Outcome, is_real: bool) -> Verdict {
    match outcome {
        Outcome::Checked => Verdict::Right,
        Outcome::Boots => {
            let boot = &details["boots"][0];
            match (verdicts_of(boot, is_real).first(), boot["result"] == "booted") {
                (Some(given), _) => Verdict::Wrong(format!("it is fine, and got {given}")),
                (None, true) => Verdict::Right,
                (None, false) => Verdict::NotYet,
            }
        }
        Outcome::Stuck(wanted) => {
            let boots = details["boots"].as_array().map(Vec::as_slice).unwrap_or_default();
            let place = wanted.newer.min(boots.len().saturating_sub(1));
            let boot = boots.get(place).filter(|_| wanted.newer == OLDEST || place == wanted.newer);
            let boot = boot.unwrap_or(&Value::Null);
            match &boot["verdict"] {
                Value::Null => Verdict::NotYet,
                verdict => {
                    check_verdict(boot, verdict, wanted, is_real).map_or(Verdict::Right, Verdict::Wrong)
                }
            }
        }
    }
}

/// The verdicts of a boot, also those that were withdrawn. Left out are those about a silence of a real machine that was
/// longer than any limit of firmware's exchanges.
fn verdicts_of(boot: &Value, is_real: bool) -> Vec<&str> {
    let events = boot["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let given = events.iter().enumerate().filter(|(_, event)| event["event"] == "stuck");
    let given = given.filter(|(place, _)| !(is_real && went_on_after_silence(events, *place)));
    given.filter_map(|(_, event)| event["reason"].as_str()).collect()
}

/// Whether the verdict at `place` was withdrawn, by the first event of the machine after a silence.
fn went_on_after_silence(events: &[Value], place: usize) -> bool {
    let is_packet = |event: &&Value| event["event"] != "stuck" && event["event"] != "goes_on";
    let before = events[..place].iter().rfind(is_packet);
    let after = events[place..].iter().find(is_packet);
    let at = |event: Option<&Value>| event.and_then(|event| milliseconds(&event["at"]));
    let is_withdrawn = events[place..].iter().any(|event| event["event"] == "goes_on");
    let silence = at(after).zip(at(before)).map(|(after, before)| after - before);
    is_withdrawn && silence.is_some_and(|silence| silence > SILENCE_MS)
}

/// Describes the fault of a verdict; `None` if it is right.
fn check_verdict(boot: &Value, verdict: &Value, wanted: &Wanted, is_real: bool) -> Option<String> {
    if verdict["id"] != wanted.id {
        return Some(format!("it got {}, wanted {}", verdict["id"], wanted.id));
    }
    if boot["result"] != "stuck" || boot["stage"] != wanted.stage {
        return Some(format!("it is {} at {}", boot["result"], boot["stage"]));
    }
    if verdict["confidence"] != wanted.confidence {
        return Some(format!("it is {}", verdict["confidence"]));
    }
    let text = format!("{} {}", verdict["cause"], verdict["advice"]);
    if let Some(word) = wanted.words.iter().find(|word| !text.contains(**word)) {
        return Some(format!("{word:?} is not in {text}"));
    }
    if let Some(other) = verdicts_of(boot, is_real).iter().find(|id| **id != wanted.id) {
        return Some(format!("it got {other} before"));
    }
    let events = boot["events"].as_array()?;
    let ended = milliseconds(&boot["ended"])?;
    let before = events.iter().filter(|event| event["event"] != "stuck");
    let last = before.filter_map(|event| milliseconds(&event["at"])).filter(|at| *at <= ended).max()?;
    let took = ended - last;
    // The first packet of the next attempt proves it, or it was given before.
    let is_late = wanted.newer == 0 && took > wanted.limit * 1000 + SLACK_MS;
    is_late.then(|| format!("it came {took} ms after the last event"))
}

/// Milliseconds of a time within its day.
fn milliseconds(time: &Value) -> Option<i64> {
    let clock = time.as_str()?.get(11..23)?;
    let part = |range| clock.get(range).and_then(|text: &str| text.parse::<i64>().ok());
    let (hours, minutes) = (part(0..2)?, part(3..5)?);
    Some(((hours * 60 + minutes) * 60 + part(6..8)?) * 1000 + part(9..12)?)
}

/// The number of runs: `VERDICT_RUNS`, or one.
pub fn runs() -> usize {
    std::env::var("VERDICT_RUNS").map_or(1, |runs| runs.parse().expect("VERDICT_RUNS is a number"))
}

/// Fails with the lines of all machines, and the server's log.
pub fn assert_all(wrong: &[String], server: &mut Running) {
    assert!(wrong.is_empty(), "{}\n---- the server:\n{}", wrong.join("\n"), server.drain());
}
