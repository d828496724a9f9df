//! Boots that are fine, slow or lossy never get a verdict: 2,000 boots of every kind of client in virtual time.

use std::net::Ipv4Addr;

use lanboot::journey::boot::BootResult;
use lanboot::wire::dhcp::MessageType;
use support::world::SERVER;

use super::lab::*;

/// Boots in all.
const BOOTS: u32 = 2000;
/// One packet of this number is lost, on average.
const ONE_LOST_OF: u64 = 25;

/// Pseudo-random numbers (xorshift), the same in each run.
struct Chance {
    state: u64,
}

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below.max(1)
    }

    fn lost(&mut self) -> bool {
        self.next(ONE_LOST_OF) == 0
    }
}

/// A client's options and pauses: firmware asks again after 4, 8, 16 and 32 s, iPXE sooner.
#[derive(Clone, Copy)]
struct Program {
    options: &'static [(u8, &'static [u8])],
    retries: &'static [u64],
    /// The pause between offer and REQUEST.
    waits: u64,
}

const FIRMWARE: [Program; 3] = [
    Program { options: BIOS, retries: &[4000, 8000, 16_000, 32_000], waits: 0 },
    Program { options: UEFI, retries: &[4000, 8000, 16_000, 32_000], waits: 4000 },
    Program { options: HTTP, retries: &[4000, 8000, 16_000, 32_000], waits: 4000 },
];
const LOADED: Program = Program { options: IPXE, retries: &[1000, 2000, 4000, 8000, 8000], waits: 100 };
const OS: Program = Program { options: SYSTEM, retries: &[3000, 5000, 9000, 9000], waits: 10 };

/// Gets an address, with lost packets and retries. False: the client gave up, which is no good boot.
fn dhcp(lab: &mut Lab, program: Program, beside: bool, chance: &mut Chance) -> bool {
    lab.again();
    let mut elapsed = 0;
    for retry in program.retries {
        let request_lost = chance.lost();
        let mut address = None;
        if !request_lost {
            let secs = if program.options == IPXE { 0 } else { u16::try_from(elapsed / 1000).unwrap() };
            let answer = lab.discover(program.options, secs);
            if beside {
                lab.other(MessageType::Offer, None);
            }
            address = answer.map(|answer| answer.message.yiaddr).filter(|_| !chance.lost());
            if beside && program.options == SYSTEM {
                address = Some(Ipv4Addr::new(192, 168, 77, 200));
            }
        }
        let Some(address) = address else {
            lab.pass(*retry);
            elapsed += retry;
            continue;
        };
        lab.pass(program.waits + chance.next(100));
        // The second retry comes after the limit of silence, so the first one arrives.
        for again in [4000, 8000, 16_000, 0] {
            let first = again == 4000;
            if !(first && chance.lost()) {
                let server = if beside { OTHER } else { SERVER };
                let address = if beside { Ipv4Addr::new(192, 168, 77, 200) } else { address };
                let answer = lab.request(program.options, server, address);
                if beside {
                    lab.other(MessageType::Ack, None);
                }
                if (beside || answer.is_some()) && !(first && chance.lost()) {
                    return true;
                }
            }
            lab.pass(again);
        }
        return false;
    }
    false
}

fn load(lab: &mut Lab, file: &str, bytes: u64, http: bool, chance: &mut Chance) {
    lab.pass(chance.next(4000));
    let millis = 10 + chance.next(if bytes > 1 << 20 { 60_000 } else { 4000 });
    if http {
        lab.http(file, bytes, millis);
    } else {
        if chance.next(3) == 0 {
            lab.size_probe(file);
            lab.pass(chance.next(200));
        }
        if chance.lost() {
            // The RRQ or the OACK is lost, and the client sends the request again.
            lab.tftp_starts(file, bytes, 1408);
            lab.pass(1000 + chance.next(3000));
        }
        lab.tftp(file, bytes, millis);
    }
}

/// One boot. Returns whether the client got through.
fn boot(lab: &mut Lab, kind: u32, beside: bool, chance: &mut Chance) -> bool {
    let rom = kind % 4 == 3;
    let firmware = FIRMWARE[(kind % 3) as usize];
    if rom {
        if !dhcp(lab, LOADED, beside, chance) {
            return false;
        }
    } else {
        if !dhcp(lab, firmware, beside, chance) {
            return false;
        }
        let is_bios = firmware.options == BIOS;
        if beside && !is_bios {
            while lab.ask_4011(firmware.options).is_none() || chance.lost() {
                lab.pass(1000);
            }
        }
        let (file, http) =
            if is_bios { ("undionly.kpxe", false) } else { ("snponly.efi", firmware.options == HTTP) };
        load(lab, file, 300_000, http, chance);
        lab.pass(chance.next(1500));
        if !dhcp(lab, LOADED, beside, chance) {
            return false;
        }
    }
    load(lab, "boot.ipxe", 400, true, chance);
    if chance.next(4) == 0 {
        // A menu, or a script that configures the card again.
        lab.pass(chance.next(20_000));
    }
    load(lab, "debian/linux", 9 << 20, true, chance);
    load(lab, "debian/initrd.gz", 40 << 20, true, chance);
    lab.pass(chance.next(20_000));
    dhcp(lab, OS, beside, chance)
}

#[test]
fn two_thousand_good_boots_get_no_verdict() {
    let mut chance = Chance { state: 0x9e37_79b9_7f4a_7c15 };
    let mut done = 0;
    for n in 0..BOOTS * 2 {
        let beside = n % 2 == 1;
        let mut lab = if beside { Lab::proxy() } else { Lab::server() };
        let kind = n / 2;
        let through = boot(&mut lab, kind, beside, &mut chance);
        if !through {
            continue;
        }
        lab.pass(120_000);
        assert!(lab.causes.is_empty(), "boot {n}, beside={beside}: {:?}", lab.causes);
        assert_eq!(lab.result(), BootResult::Booted, "boot {n}, beside={beside}: {:#?}", lab.boots()[0]);
        assert_eq!(lab.boots().len(), 1, "boot {n}");
        done += 1;
        if done == BOOTS {
            return;
        }
    }
    panic!("only {done} boots got through");
}
