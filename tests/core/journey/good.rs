//! Good boots in virtual time: every kind of client, alone, behind a relay agent, and beside another DHCP server, with lost,
//! repeated and reordered packets, slow disks, and the pauses that are normal. None of them ends with a verdict.
//!
//! A boot is good if its client gets through by its own rules: it has a limited number of tries for each message. The
//! generator also knows how long the server heard nothing. A verdict in between is allowed only if that was longer than the
//! limits of journey.md (the client's own next retry + 5 s, 30 s after the script, 60 s after the initrd, else 5 s), and it must
//! be withdrawn. Boots without such a silence never get any.

use std::net::Ipv4Addr;

use lanboot::event::Record;
use lanboot::journey::boot::BootResult;
use lanboot::wire::dhcp::MessageType;
use support::world::SERVER;

use super::lab::*;

/// Boots without a verdict at any time.
const BOOTS: usize = 2000;
/// The losses, in percent, that boots are tried with.
const LOSSES: [u64; 4] = [0, 5, 12, 20];
/// The longest normal pause inside a boot, and after the initrd, in milliseconds.
const PAUSE: u64 = 4000;
const PAUSE_OF_SYSTEM: u64 = 20_000;

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

    fn percent(&mut self, chance: u64) -> bool {
        self.next(100) < chance
    }
}

/// The server, and how messages reach it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Alone,
    Relayed,
    Beside,
    /// The relay agent passes messages to both servers; nothing of the other one is heard.
    BesideRelayed,
}

impl Place {
    fn is_beside(self) -> bool {
        matches!(self, Place::Beside | Place::BesideRelayed)
    }

    /// A lab whose UEFI machines get `uefi_file`.
    fn lab(self, uefi_file: &str) -> Lab {
        let arch = format!(
            "{{bios: undionly.kpxe, uefi-x64: {uefi_file}, uefi-arm64: shimaa64.efi, uboot-arm64: boot.scr, \
             uefi-x64-http: 'http://{{server}}/snponly.efi'}}"
        );
        let dhcp = if self.is_beside() {
            "{mode: proxy, subnets: [{network: 10.1.0.0/24}, {network: 192.168.77.0/24}]}"
        } else {
            "{mode: server, bootp: dynamic, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99}, \
             {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99}]}"
        };
        let dhcp = if self == Place::Beside { "{mode: proxy}" } else { dhcp };
        let mut lab =
            Lab::new(&format!("{{dhcp: {dhcp}, boot: {{arch: {arch}, ipxe: boot.ipxe, bootp: image.img}}}}"));
        if matches!(self, Place::Relayed | Place::BesideRelayed) {
            lab.relay = Some(Ipv4Addr::new(10, 1, 0, 1));
        }
        lab
    }
}

/// The DHCP of a program: its options, the times between its tries, and the time between an offer and its REQUEST.
#[derive(Clone, Copy)]
struct Dhcp {
    options: &'static [(u8, &'static [u8])],
    retries: &'static [u64],
    waits: u64,
}

const PI3: &[(u8, &[u8])] =
    &[(60, b"PXEClient:Arch:00000:UNDI:002001"), (93, &[0, 0]), (94, &[1, 2, 1]), (97, &[0x44; 17])];
const PI4: &[(u8, &[u8])] = &[
    (60, b"PXEClient:Arch:00000:UNDI:002001"),
    (93, &[0, 0]),
    (97, b"RPi4\x00\x11\x03\xb0\x01\x02\x03\x04\x05\x06\x07\x08\x09"),
];
const UBOOT: &[(u8, &[u8])] = &[(60, b"U-Boot.armv8"), (93, &[0, 0x16]), (55, &[1, 3, 6, 12, 17, 209])];
const LINUX: &[(u8, &[u8])] = &[(60, b"Linux ipconfig"), (55, &[1, 3, 6, 12, 15, 17, 26])];

/// EDK2 (`PxeBcDhcp4.c`) and PXE 2.1 section 2.2.5.
const FIRMWARE_RETRIES: &[u64] = &[4000, 8000, 16_000, 32_000];
const BIOS_ROM: Dhcp = Dhcp { options: BIOS, retries: FIRMWARE_RETRIES, waits: 0 };
const EDK2: Dhcp = Dhcp { options: UEFI, retries: FIRMWARE_RETRIES, waits: 4000 };
const EDK2_ARM: Dhcp = Dhcp { options: ARM, retries: FIRMWARE_RETRIES, waits: 4000 };
const EDK2_HTTP: Dhcp = Dhcp { options: HTTP, retries: FIRMWARE_RETRIES, waits: 4000 };
/// It gives up where the next pause would be longer: `DHCP_DISC_START_TIMEOUT_SEC` 1 and `DHCP_DISC_END_TIMEOUT_SEC` 10 (`config/dhcp.h`).
const IPXE_DHCP: Dhcp = Dhcp { options: IPXE, retries: &[1000, 2000, 4000, 8000], waits: 2000 };
const UBOOT_DHCP: Dhcp =
    Dhcp { options: UBOOT, retries: &[250, 500, 1000, 2000, 2000, 2000, 2000], waits: 0 };
const PI: Dhcp = Dhcp { options: PI4, retries: &[5000; 5], waits: 100 };
const OS: Dhcp = Dhcp { options: SYSTEM, retries: &[3000, 5000, 9000, 9000, 9000], waits: 10 };
const INITRD: Dhcp = Dhcp { options: LINUX, retries: &[2000, 3000, 4000, 6000, 9000, 16_000], waits: 10 };

/// The kinds of clients, and what they boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    BiosIpxe,
    UefiIpxe,
    HttpIpxe,
    IpxeRom,
    IpxeWindows,
    IpxeDiskless,
    ShimGrub,
    ArmShimGrub,
    Pxelinux,
    Uki,
    UBoot,
    Pi3,
    Pi4,
    Bootp,
}

const KINDS: [Kind; 14] = [
    Kind::BiosIpxe,
    Kind::UefiIpxe,
    Kind::HttpIpxe,
    Kind::IpxeRom,
    Kind::IpxeWindows,
    Kind::IpxeDiskless,
    Kind::ShimGrub,
    Kind::ArmShimGrub,
    Kind::Pxelinux,
    Kind::Uki,
    Kind::UBoot,
    Kind::Pi3,
    Kind::Pi4,
    Kind::Bootp,
];

impl Kind {
    /// Whether this client boots with a proxy. U-Boot ignores proxies, a Pi 3 reads one OFFER alone, BOOTP has no proxies, and
    /// HTTP boot is not answered on port 4011.
    fn boots_beside(self) -> bool {
        !matches!(self, Kind::UBoot | Kind::Pi3 | Kind::Pi4 | Kind::Bootp | Kind::HttpIpxe)
    }
}

/// The client gave up: this was no good boot.
struct GaveUp;

/// One boot.
struct Run<'l> {
    lab: &'l mut Lab,
    chance: &'l mut Chance,
    place: Place,
    /// Lost packets, in percent.
    loss: u64,
    /// Milliseconds since the server received anything from the machine, and how many of them are normal.
    quiet: u64,
    limit: u64,
    /// Whether the server heard nothing for longer than that.
    is_late: bool,
}

impl Run<'_> {
    fn lost(&mut self) -> bool {
        self.chance.percent(self.loss)
    }

    fn pass(&mut self, millis: u64) {
        self.lab.pass(millis);
        self.quiet += millis;
        self.is_late |= self.quiet >= self.limit;
    }

    /// A pause of the client of up to `most`.
    fn pause(&mut self, most: u64) {
        let millis = self.chance.next(most);
        self.pass(millis);
    }

    /// The server receives something from the machine, and should again within `limit`.
    fn heard(&mut self, limit: u64) {
        (self.quiet, self.limit) = (0, limit);
    }

    /// A copy of a packet arrives once more, or after a later one.
    fn repeats(&mut self) -> bool {
        self.chance.percent(5)
    }

    fn lease(&mut self, dhcp: Dhcp) -> Result<(), GaveUp> {
        let is_ipxe = dhcp.options == IPXE;
        let is_system = dhcp.options == SYSTEM || dhcp.options == LINUX;
        self.lab.again();
        let (mut elapsed, mut ours, mut theirs) = (0, None, !self.place.is_beside());
        for (place, retry) in dhcp.retries.iter().enumerate() {
            // iPXE states in `secs` what it has received.
            let flags = (place << 2) | usize::from(ours.is_some() && self.place.is_beside());
            let secs = if is_ipxe { flags as u64 } else { elapsed / 1000 };
            if !self.lost() {
                let copies = 1 + u64::from(self.repeats());
                for _ in 0..copies {
                    // Four DISCOVERs without a REQUEST prove that its firmware takes no offer.
                    self.heard(if place >= 3 && !is_system { 5000 } else { retry + 5000 });
                    let answer = self.lab.discover(dhcp.options, u16::try_from(secs).unwrap());
                    if answer.is_some() && !self.lost() {
                        ours = answer.map(|answer| answer.message.yiaddr);
                    }
                    self.pause(200);
                }
            }
            if self.place.is_beside() && !self.lost() {
                theirs = true;
                if self.place == Place::Beside && self.chance.percent(70) {
                    self.lab.other(MessageType::Offer, None);
                }
            }
            // Beside another server, a system needs nothing of us.
            if theirs && (ours.is_some() || (is_system && self.place.is_beside())) {
                let address = match self.place.is_beside() {
                    true => Ipv4Addr::new(192, 168, 77, 200),
                    false => ours.unwrap(),
                };
                // EDK2 looks at its offers when the time for this try is over (`Dhcp4Io.c`).
                self.pass(if dhcp.waits == 4000 { *retry } else { dhcp.waits });
                return self.take(dhcp, address);
            }
            self.pass(*retry);
            elapsed += retry;
        }
        Err(GaveUp)
    }

    /// REQUESTs until an ACK arrives.
    fn take(&mut self, dhcp: Dhcp, address: Ipv4Addr) -> Result<(), GaveUp> {
        let is_beside = self.place.is_beside();
        let server = if is_beside { OTHER } else { SERVER };
        let mut is_first = true;
        for retry in dhcp.retries {
            if !self.lost() {
                let mut acknowledged = false;
                let copies = 1 + u64::from(self.repeats());
                for _ in 0..copies {
                    self.heard(if is_first { 5000 } else { retry + 5000 });
                    let answer = self.lab.request(dhcp.options, server, address);
                    acknowledged |= (is_beside || answer.is_some()) && !self.lost();
                    if self.place == Place::Beside && self.chance.percent(70) {
                        self.lab.other(MessageType::Ack, None);
                    }
                }
                // After an ACK, files must be requested within 5 s; repeated REQUESTs show that ACKs are lost.
                is_first = false;
                // A DISCOVER that was overtaken.
                if self.chance.percent(2) {
                    self.pause(200);
                    self.lab.discover(dhcp.options, 0);
                }
                if acknowledged {
                    // iPXE waits for a proxy and for an IPv6 router.
                    self.limit = if dhcp.options == IPXE { 20_000 } else { 5000 };
                    return Ok(());
                }
            }
            self.pass(*retry);
        }
        Err(GaveUp)
    }

    /// EDK2 asks the boot service, after 1, 2, 3 and 4 s again (`PxeBcBoot.c`).
    fn ask_4011(&mut self, dhcp: Dhcp) -> Result<(), GaveUp> {
        for retry in [1000, 2000, 3000, 4000] {
            if !self.lost() {
                self.heard(5000);
                if self.lab.ask_4011(dhcp.options).is_some() && !self.lost() {
                    return Ok(());
                }
            }
            self.pass(retry);
        }
        Err(GaveUp)
    }

    /// The time that a transfer of `bytes` takes, on a slow disk or a slow network sometimes minutes.
    fn duration(&mut self, bytes: u64) -> u64 {
        let slow = self.chance.percent(10);
        match (bytes > 1 << 20, slow) {
            (true, true) => 60_000 + self.chance.next(540_000),
            (true, false) => 500 + self.chance.next(30_000),
            (false, true) => self.chance.next(60_000),
            (false, false) => self.chance.next(1000),
        }
    }

    /// A whole file by TFTP.
    fn tftp(&mut self, file: &str, bytes: u64, limit_after: u64) -> Result<(), GaveUp> {
        self.pause(PAUSE);
        let blksize = [512, 1024, 1408, 1468][self.chance.next(4) as usize];
        let (mut is_first, mut tries) = (true, 0);
        loop {
            tries += 1;
            if tries > 6 {
                return Err(GaveUp);
            }
            if !self.lost() {
                // The next packet must be the ACK of the OACK or of block 1: requests that repeat prove that neither comes.
                if is_first {
                    self.heard(5000);
                }
                if is_first || self.chance.percent(50) {
                    self.lab.tftp_starts(file, bytes, blksize);
                } else {
                    self.lab.tftp_starts_again(file, bytes, blksize);
                }
                is_first = false;
                if !self.lost() {
                    break;
                }
                // The server sends its first packet again after a second.
                if !self.lost() {
                    self.pass(1000);
                    break;
                }
            }
            let again = 1000 + self.chance.next(3000);
            self.pass(again);
        }
        self.heard(u64::MAX);
        if blksize != 512 {
            self.lab.tftp_acknowledges(file, false);
        }
        self.lab.tftp_acknowledges(file, true);
        let millis = self.duration(bytes);
        self.pass(millis);
        self.lab.tftp_ends(file, bytes);
        self.heard(limit_after);
        Ok(())
    }

    /// A whole file by HTTP. TCP repeats what is lost.
    fn http(&mut self, file: &str, bytes: u64, limit_after: u64) {
        self.pause(PAUSE);
        if bytes > 64 << 10 {
            self.heard(u64::MAX);
        }
        let millis = if bytes > 64 << 10 { self.duration(bytes) } else { self.chance.next(500) };
        self.lab.http(file, bytes, millis);
        self.heard(limit_after);
    }

    /// Names that loaders try and do without.
    fn misses(&mut self, names: &[&str]) {
        for name in names {
            if !self.lost() {
                self.lab.tftp_refused(name);
                self.limit = self.limit.max(5000);
                self.quiet = 0;
            }
            self.pause(300);
        }
    }

    fn size_probe(&mut self, file: &str) {
        if self.chance.percent(50) && !self.lost() {
            self.lab.size_probe(file);
            self.heard(5000);
        }
    }

    fn boot(&mut self, kind: Kind) -> Result<(), GaveUp> {
        match kind {
            Kind::BiosIpxe => {
                self.firmware(BIOS_ROM, "undionly.kpxe")?;
                self.ipxe()?;
            }
            Kind::UefiIpxe => {
                self.firmware(EDK2, "snponly.efi")?;
                self.ipxe()?;
            }
            Kind::HttpIpxe => {
                self.lease(EDK2_HTTP)?;
                self.http("snponly.efi", 300_000, 5000);
                self.ipxe()?;
            }
            Kind::IpxeRom => self.ipxe()?,
            Kind::IpxeWindows => return self.windows(),
            Kind::IpxeDiskless => return self.diskless(),
            Kind::ShimGrub => self.shim_and_grub(EDK2, "x64")?,
            Kind::ArmShimGrub => self.shim_and_grub(EDK2_ARM, "aa64")?,
            Kind::Pxelinux => self.pxelinux()?,
            Kind::Uki => {
                self.firmware(EDK2, "linux.efi")?;
                self.limit = 60_000;
            }
            Kind::UBoot => self.uboot()?,
            Kind::Pi3 => self.pi3()?,
            Kind::Pi4 => {
                self.lease(PI)?;
                self.raspberry_pi("11223344/")?;
            }
            Kind::Bootp => return self.bootp(),
        }
        self.pause(PAUSE_OF_SYSTEM);
        self.lease(OS)
    }

    /// PXE firmware loads its boot file.
    fn firmware(&mut self, dhcp: Dhcp, file: &str) -> Result<(), GaveUp> {
        self.lease(dhcp)?;
        if self.place.is_beside() && dhcp.options != BIOS {
            self.pause(500);
            self.ask_4011(dhcp)?;
            self.limit = 5000;
        }
        self.size_probe(file);
        self.tftp(file, 300_000, 5000)?;
        self.pause(1500);
        Ok(())
    }

    /// iPXE, loaded or in ROM, up to the last initrd.
    fn ipxe(&mut self) -> Result<(), GaveUp> {
        self.script()?;
        self.http("debian/linux", 9 << 20, 5000);
        self.http("debian/initrd.gz", 40 << 20, 60_000);
        Ok(())
    }

    fn script(&mut self) -> Result<(), GaveUp> {
        self.lease(IPXE_DHCP)?;
        if self.chance.percent(30) {
            let wait = 11_000 + self.chance.next(2000);
            self.pass(wait);
        }
        self.http("boot.ipxe", 400, 30_000);
        match self.chance.next(4) {
            // A menu, or a script that configures the card again.
            0 => self.pause(20_000),
            1 => {
                self.pause(3000);
                self.lease(IPXE_DHCP)?;
                self.limit = 30_000;
            }
            _ => {}
        }
        Ok(())
    }

    /// wimboot and Windows PE, which asks for an address when it runs.
    fn windows(&mut self) -> Result<(), GaveUp> {
        self.firmware(EDK2, "snponly.efi")?;
        self.script()?;
        for (file, bytes) in [("wimboot", 70_000), ("Boot/BCD", 20_000), ("Boot/boot.sdi", 3 << 20)] {
            self.http(file, bytes, 30_000);
        }
        self.http("sources/boot.wim", 300 << 20, 60_000);
        self.pause(PAUSE_OF_SYSTEM);
        self.lease(OS)
    }

    /// live-boot: the initrd gets an address and loads its root file system, and the system asks again.
    fn diskless(&mut self) -> Result<(), GaveUp> {
        self.ipxe()?;
        self.pause(PAUSE_OF_SYSTEM);
        self.lease(INITRD)?;
        self.limit = u64::MAX;
        self.pause(3000);
        self.http("compute/root.squashfs", 300 << 20, u64::MAX);
        self.pause(PAUSE_OF_SYSTEM);
        self.lease(OS)
    }

    fn shim_and_grub(&mut self, dhcp: Dhcp, suffix: &str) -> Result<(), GaveUp> {
        self.firmware(dhcp, &format!("shim{suffix}.efi"))?;
        self.limit = 5000;
        self.misses(&["revocations.efi", "shim_certificate_0.efi"]);
        self.tftp(&format!("grub{suffix}.efi"), 2 << 20, 5000)?;
        self.pause(1000);
        self.misses(&[
            "grub/x86_64-efi/command.lst",
            "grub/x86_64-efi/fs.lst",
            "grub/grub.cfg-01-02-00-00-00-00-01",
        ]);
        self.tftp("grub/grub.cfg", 300, 30_000)?;
        self.pause(10_000);
        self.tftp("debian/linux", 9 << 20, 5000)?;
        self.tftp("debian/initrd.gz", 40 << 20, 60_000)
    }

    fn pxelinux(&mut self) -> Result<(), GaveUp> {
        self.firmware(BIOS_ROM, "undionly.kpxe")?;
        self.limit = 5000;
        self.tftp("ldlinux.c32", 120_000, 5000)?;
        self.misses(&["pxelinux.cfg/01-02-00-00-00-00-01", "pxelinux.cfg/C0A84D32", "pxelinux.cfg/C0A84D3"]);
        self.tftp("pxelinux.cfg/default", 300, 30_000)?;
        self.pause(15_000);
        self.tftp("debian/linux", 9 << 20, 5000)?;
        self.tftp("debian/initrd.gz", 40 << 20, 60_000)
    }

    fn uboot(&mut self) -> Result<(), GaveUp> {
        self.lease(UBOOT_DHCP)?;
        self.misses(&[
            "pxelinux.cfg/01-02-00-00-00-00-01",
            "pxelinux.cfg/C0A84D32",
            "pxelinux.cfg/default-arm-bcm283x",
        ]);
        self.limit = 5000;
        self.tftp("pxelinux.cfg/default", 300, 30_000)?;
        self.tftp("debian/linux", 20 << 20, 5000)?;
        self.tftp("debian/initrd.gz", 30 << 20, 60_000)?;
        self.tftp("board.dtb", 30_000, 60_000)
    }

    /// The boot ROM of a Raspberry Pi 3 sends no REQUEST: it loads from the OFFER.
    fn pi3(&mut self) -> Result<(), GaveUp> {
        self.lab.oui = [0xb8, 0x27, 0xeb];
        self.lab.again();
        let mut is_offered = false;
        for _ in 0..5 {
            if !self.lost() {
                self.heard(10_000);
                is_offered = self.lab.discover(PI3, 0).is_some() && !self.lost();
            }
            if is_offered {
                break;
            }
            self.pass(5000);
        }
        if !is_offered {
            return Err(GaveUp);
        }
        self.pause(2000);
        self.tftp("bootcode.bin", 50_000, 5000)?;
        self.misses(&["bootsig.bin"]);
        self.raspberry_pi("")
    }

    fn raspberry_pi(&mut self, folder: &str) -> Result<(), GaveUp> {
        self.limit = 5000;
        self.misses(&[&format!("{folder}autoboot.txt"), &format!("{folder}recovery.elf")]);
        for (file, bytes) in
            [("config.txt", 200), ("start4.elf", 2 << 20), ("fixup4.dat", 6000), ("cmdline.txt", 100)]
        {
            self.tftp(&format!("{folder}{file}"), bytes, 5000)?;
        }
        self.tftp(&format!("{folder}kernel8.img"), 8 << 20, 60_000)
    }

    /// A plain BOOTP client, such as a terminal, loads its image and runs it.
    fn bootp(&mut self) -> Result<(), GaveUp> {
        self.lab.again();
        let mut elapsed = 0;
        for retry in FIRMWARE_RETRIES {
            if !self.lost() {
                self.heard(retry + 5000);
                let answer = self.lab.bootp(u16::try_from(elapsed / 1000).unwrap());
                if answer.is_some() && !self.lost() {
                    self.limit = 5000;
                    return self.tftp("image.img", 2 << 20, u64::MAX);
                }
            }
            self.pass(*retry);
            elapsed += retry;
        }
        Err(GaveUp)
    }
}

#[test]
fn two_thousand_good_boots_get_no_verdict() {
    let mut chance = Chance { state: 0x9e37_79b9_7f4a_7c15 };
    let (mut done, mut withdrawn, mut gave_up) = (0, 0, 0);
    let mut of_kind = [0; KINDS.len()];
    let mut failures = Vec::new();
    for n in 0..BOOTS * 4 {
        let kind = KINDS[n % KINDS.len()];
        let round = n / KINDS.len();
        let place = [Place::Alone, Place::Beside, Place::Relayed, Place::BesideRelayed][round % 4];
        let loss = LOSSES[round / 4 % LOSSES.len()];
        if place.is_beside() && !kind.boots_beside() {
            continue;
        }
        let mut lab = place.lab(match kind {
            Kind::Uki => "linux.efi",
            Kind::ShimGrub => "shimx64.efi",
            _ => "snponly.efi",
        });
        let mut run = Run {
            lab: &mut lab,
            chance: &mut chance,
            place,
            loss,
            quiet: 0,
            limit: u64::MAX,
            is_late: false,
        };
        let got_through = run.boot(kind).is_ok();
        let is_late = run.is_late;
        if !got_through {
            gave_up += 1;
            continue;
        }
        lab.pass(120_000);
        let what = format!("boot {n}: {kind:?} {place:?} loss={loss}");
        let is_clean = lab.causes.is_empty() || is_late;
        // The image of a BOOTP client may run forever without a word.
        let result = if kind == Kind::Bootp { BootResult::Booting } else { BootResult::Booted };
        if !is_clean || lab.verdict(0).is_some() || lab.result() != result || lab.boots().len() != 1 {
            let boots = lab.boots();
            let began = boots[0].id.started;
            let event = |record: &Record| {
                format!("{:?} {:.90}", record.at.since(began), format!("{:?}", record.event))
            };
            let events: Vec<String> = boots[0].events.iter().take(14).map(event).collect();
            failures.push(format!(
                "{what}: late={is_late} {:?} {:?} {} boots, {events:#?}",
                lab.causes,
                lab.result(),
                boots.len()
            ));
        }
        withdrawn += usize::from(!lab.causes.is_empty());
        if lab.causes.is_empty() {
            done += 1;
            of_kind[n % KINDS.len()] += 1;
        }
        if done == BOOTS {
            break;
        }
    }
    let shown: Vec<&String> = failures.iter().take(5).collect();
    assert!(failures.is_empty(), "{} of {}: {shown:#?}", failures.len(), done + failures.len());
    assert_eq!(done, BOOTS, "withdrawn {withdrawn}, gave up {gave_up}");
    assert!(of_kind.iter().all(|count| *count >= 40), "{of_kind:?}");
    assert!(withdrawn < BOOTS / 5, "{withdrawn} of {BOOTS} were silent for too long");
}
