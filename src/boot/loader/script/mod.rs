//! Generates the script that makes a loader boot a target: for iPXE, GRUB and PXELINUX from the same entry.
//!
//! `content/generated.rs` calls [`script`] and [`chain`] when a loader fetches its script; `check` calls [`script`] for
//! every machine. A script is returned whole or not at all.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::boot::fetch::{SERVER, Served, host};
use crate::boot::loader::escape::shell_word;
use crate::boot::loader::facts::Facts;
use crate::boot::loader::target::{BootAction, FACTS, Target, Targets, is_url};

/// The boot loader that reads the script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loader {
    Ipxe,
    Grub,
    Pxelinux,
}

/// Seconds that a menu waits for a key before it boots the local disk.
pub const MENU_SECONDS: u32 = 10;
/// Seconds that an error stays on the screen before the firmware continues.
const FAILED_SECONDS: u32 = 10;
/// The reason why a script cannot be generated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptError {
    /// The key of the configuration: `targets.debian.cmdline`.
    pub key: String,
    /// An explanation for the user.
    pub reason: String,
}

/// Generates the script that makes `loader` take the action `start` on the machine described by `facts`.
///
/// # Errors
/// A target uses a variable that has no value for this machine, or has a value that this loader cannot represent. A
/// menu leaves out such targets.
pub fn script(
    loader: Loader,
    start: &BootAction,
    targets: &Targets,
    facts: &Facts<'_>,
    served: Served,
) -> Result<String, ScriptError> {
    let target = match start {
        BootAction::Target(name) => targets.get(name),
        BootAction::Menu => {
            let entries =
                targets.list.iter().filter_map(|target| Entry::new(loader, target, facts, served).ok());
            let entries = entries.collect::<Vec<_>>();
            return Ok(match loader {
                Loader::Ipxe => ipxe_menu(&entries, &report(facts.server, served)),
                Loader::Grub => grub_menu(&entries),
                Loader::Pxelinux => pxelinux_menu(&entries),
            });
        }
        BootAction::Local => None,
    };
    let report = || report(facts.server, served);
    let Some(target) = target else {
        return Ok(match loader {
            Loader::Ipxe => format!("#!ipxe\n{}{IPXE_LOCAL}", report()),
            Loader::Grub => GRUB_LOCAL.to_owned(),
            Loader::Pxelinux => format!("DEFAULT local\nPROMPT 0\n{PXELINUX_LOCAL}"),
        });
    };
    let entry = Entry::new(loader, target, facts, served)?;
    Ok(match loader {
        Loader::Ipxe => {
            let (commands, failed) = (entry.ipxe("failed"), ipxe_failed(&entry.name));
            format!("#!ipxe\n{}{commands}boot || goto failed\n{failed}", report())
        }
        Loader::Grub => format!("{}boot\n{}", entry.grub(), grub_failed(&entry.name)),
        Loader::Pxelinux => format!("DEFAULT {}\nPROMPT 0\n{}", entry.name, entry.pxelinux()),
    })
}

/// Generates an iPXE script that continues with another one: a file under boot-images/ or a URL.
pub fn chain(script: &str, server: IpAddr, served: Served) -> String {
    let script = script.replace(SERVER, &host(server));
    let url = if is_url(&script) { script } else { served.url(server, &script) };
    let report = report(server, served);
    format!("#!ipxe\n{report}chain --replace {url} || goto failed\n{}", ipxe_failed(&url))
}

/// Time that iPXE waits for an answer to its report, in milliseconds.
const REPORT_TIMEOUT: u32 = 2000;

/// Returns the iPXE command that reports facts about the machine to us; nothing if HTTP is off.
///
/// Most builds of iPXE have no `memsize` (`MEMMAP_SETTINGS`), so the script also sends the first ranges of memory in
/// SMBIOS (type 19).
///
/// The boot goes on whatever happens to the report: the command after `||` is empty, which succeeds (`core/exec.c`). An
/// iPXE without `--timeout` or without one of the settings does the same. The answer is freed, because iPXE gives each
/// file that it has to the kernel as an initial RAM disk.
fn report(server: IpAddr, served: Served) -> String {
    if served.http.is_none() {
        return String::new();
    }
    let url = served.url(server, FACTS);
    let ranges = (0..4).map(|n| format!("range{n}=${{smbios/{n}.19.4.8:hexraw}}"));
    let ranges = ranges.collect::<Vec<_>>().join("&");
    format!(
        "imgfetch --name lanboot-facts --timeout {REPORT_TIMEOUT} {url}?mac=${{netX/mac}}&memsize=${{memsize}}\
         &{ranges}&manufacturer=${{manufacturer:uristring}}&product=${{product:uristring}}&serial=${{serial:uristring}}\
         &platform=${{platform}}&buildarch=${{buildarch}} && imgfree lanboot-facts ||\n"
    )
}

/// A target with all variables replaced, valid for one loader.
struct Entry {
    name: String,
    title: String,
    kernel: String,
    initrd: Vec<String>,
    cmdline: String,
}

impl Entry {
    fn new(loader: Loader, target: &Target, facts: &Facts<'_>, served: Served) -> Result<Entry, ScriptError> {
        let error =
            |key: &str, reason: String| ScriptError { key: format!("targets.{}.{key}", target.name), reason };
        let fill = |key: &str, text: &str| {
            let filled = facts.expand(text);
            let filled =
                filled.map_err(|name| error(key, format!("{{{name}}} is not known of this machine")))?;
            match unfit(loader, &filled) {
                Some(reason) => Err(error(key, reason)),
                None => Ok(filled),
            }
        };
        let file = |key: &str, name: &str| {
            let name = fill(key, name)?;
            // PXELINUX ends a file name at a space, and the name of a RAM disk at a comma.
            if loader == Loader::Pxelinux && name.contains([' ', ',']) {
                return Err(error(
                    key,
                    format!("PXELINUX cannot load {name}: its name has a blank or a comma in it"),
                ));
            }
            located(loader, &name, facts.server, served).ok_or_else(|| {
                error(key, format!("{loader:?} cannot load {name}: it does not support this protocol"))
            })
        };
        let cmdline = fill("cmdline", &target.cmdline)?;
        if let Some(reason) = grub_problem(&cmdline).filter(|_| loader == Loader::Grub) {
            return Err(error("cmdline", reason));
        }
        Ok(Entry {
            name: target.name.to_string(),
            title: target.title.clone(),
            kernel: file("kernel", &target.kernel)?,
            initrd: target.initrd.iter().map(|name| file("initrd", name)).collect::<Result<_, _>>()?,
            cmdline,
        })
    }

    /// Returns the iPXE commands that load the target. On UEFI, older kernels find their RAM disks by the names in
    /// `initrd=`. Newer ones take the RAM disks from iPXE and ignore the names.
    fn ipxe(&self, failed: &str) -> String {
        let mut kernel = format!("kernel {}", self.kernel);
        let mut initrds = String::new();
        for (i, url) in self.initrd.iter().enumerate() {
            let _ = write!(kernel, " initrd=initrd{i}");
            let _ = writeln!(initrds, "initrd --name initrd{i} {url} || goto {failed}");
        }
        if !self.cmdline.is_empty() {
            let _ = write!(kernel, " {}", self.cmdline);
        }
        format!("{kernel} || goto {failed}\n{initrds}")
    }

    fn grub(&self) -> String {
        let words: Vec<String> =
            kernel_words(&self.cmdline).map(|word| shell_word(&unquoted(word))).collect();
        let mut text = format!("echo {}\n", shell_word(&format!("Loading {} ...", self.name)));
        let _ = writeln!(
            text,
            "{}",
            format!("linux {} {}", shell_word(&self.kernel), words.join(" ")).trim_end()
        );
        if !self.initrd.is_empty() {
            let initrd: Vec<String> = self.initrd.iter().map(|name| shell_word(name)).collect();
            let _ = writeln!(text, "initrd {}", initrd.join(" "));
        }
        text
    }

    /// Returns the PXELINUX label. LINUX is used because KERNEL would decide by the extension of the file name, and
    /// take `vmlinuz-6.1.0` for a boot program.
    fn pxelinux(&self) -> String {
        let mut text = format!("LABEL {}\n  LINUX {}\n", self.name, self.kernel);
        if !self.initrd.is_empty() {
            let _ = writeln!(text, "  INITRD {}", self.initrd.join(","));
        }
        if !self.cmdline.is_empty() {
            let _ = writeln!(text, "  APPEND {}", self.cmdline);
        }
        text
    }
}

/// Returns the reason why `text` cannot be written in a script for this loader.
fn unfit(loader: Loader, text: &str) -> Option<String> {
    if text.chars().any(char::is_control) {
        return Some("a value has a line end or another control character in it".to_owned());
    }
    (loader == Loader::Ipxe).then(|| ipxe_problem(text)).flatten()
}

/// Splits a command line as the kernel does: spaces inside double quotes do not end a word.
fn kernel_words(line: &str) -> impl Iterator<Item = &str> {
    let mut in_quotes = false;
    let ends_word = move |c: char| {
        in_quotes ^= c == '"';
        c == ' ' && !in_quotes
    };
    line.split(ends_word).filter(|word| !word.is_empty())
}

/// Removes the double quotes around a word or around its value. GRUB adds quotes around words with spaces itself
/// (`"key=two words"`, which the kernel reads as `key="two words"`). It also adds a backslash before quotes in the
/// word, which no kernel understands.
fn unquoted(word: &str) -> String {
    let without = |text: &str| text.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
    let value = || word.split_once('=').and_then(|(key, value)| Some(format!("{key}={}", without(value)?)));
    without(word).or_else(value).unwrap_or_else(|| word.to_owned())
}

/// Returns a problem if the command line has a character that GRUB would escape with a backslash.
fn grub_problem(text: &str) -> Option<String> {
    let is_code = |after: &str| {
        let digits = after.strip_prefix('x').and_then(|digits| digits.get(..2));
        digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    let cannot = |word: &str| {
        let has_backslash = || word.split('\\').skip(1).any(|after| !is_code(after));
        word.contains(['"', '\'']) || has_backslash()
    };
    let word = kernel_words(text).map(unquoted).find(|word| cannot(word))?;
    Some(format!(
        "GRUB cannot pass {word} to a kernel: it puts a backslash before each quote and backslash; only \" around a value \
         and \\x with two digits are possible"
    ))
}

/// The problem of `${…}` in a target, which GRUB and PXELINUX start too.
pub const ONLY_IPXE: &str =
    "only iPXE expands ${: write {mac}, {server} and so on, which work for all loaders";

/// Returns a problem if iPXE would read more than text in `text`. iPXE has no quotes.
pub fn ipxe_problem(text: &str) -> Option<String> {
    if text.contains("${") {
        return Some(ONLY_IPXE.to_owned());
    }
    if text.ends_with('\\') {
        return Some("it ends in \\, by which iPXE joins two lines".to_owned());
    }
    let special = |word: &&str| matches!(*word, "||" | "&&" | ";") || word.starts_with('#');
    let word = text.split_ascii_whitespace().find(special)?;
    Some(format!("iPXE cannot represent the word {word}: it ends a command there, or begins a comment"))
}

/// Returns `name` in the syntax of this loader; `None` if the loader does not support the protocol of the URL.
fn located(loader: Loader, name: &str, server: IpAddr, served: Served) -> Option<String> {
    let name = name.replace('\\', "/");
    if !is_url(&name) {
        return Some(match loader {
            Loader::Ipxe => served.url(server, &name),
            // GRUB loads from the server that its configuration came from, which is us: over TFTP, or HTTP after an
            // HTTP boot.
            Loader::Grub => format!("/{name}"),
            // `::` avoids the folder prefix of pxelinux.0.
            Loader::Pxelinux => format!("::{name}"),
        });
    }
    let (scheme, rest) = name.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    match loader {
        // The URL is escaped already. Only a replaced variable may contain a space, which would end the word.
        Loader::Ipxe => Some(name.replace(' ', "%20")),
        // lpxelinux.0 supports HTTP, pxelinux.0 only TFTP.
        Loader::Pxelinux if scheme == "https" => None,
        Loader::Pxelinux => Some(name),
        Loader::Grub if scheme == "https" => None,
        Loader::Grub => {
            let (host, path) = rest.split_once('/')?;
            Some(format!("({scheme},{host})/{path}"))
        }
    }
}

/// The script that boots the local disk. On a BIOS, iPXE and GRUB boot the disk themselves, because not every
/// BIOS continues after a network boot. On UEFI, the loader ends with an error, because EDK2 continues its boot order
/// after an error but opens its setup after a success. GRUB 2.06 always ends with success, whatever the argument of
/// `exit`, so GRUB starts the UEFI loader of the disk itself.
const IPXE_LOCAL: &str = "\
echo Starting the local disk
iseq ${platform} pcbios && sanboot --no-describe --drive 0x80 ||
exit 1
";
/// GRUB has no `&&`. The paths where distributions and Windows install their loaders come first. The default path of
/// UEFI comes last, because an installer may be there, or shim's `fallback`, which restarts the machine. A pattern
/// without matches stays as it is. A loader looks for its files on the disk that is `root` when the loader is loaded.
const GRUB_LOCAL: &str = "\
echo 'Starting the local disk'
if [ \"$grub_platform\" = pc ]; then
  set root=hd0
  chainloader +1
  boot
fi
set suffix=x64
if [ \"$grub_cpu\" = arm64 ]; then
  set suffix=aa64
fi
for loader in (hd*)/EFI/*/shim$suffix.efi (hd*)/EFI/*/grub$suffix.efi (hd*)/EFI/Microsoft/Boot/bootmgfw.efi; do
  if [ -f \"$loader\" ]; then
    regexp --set=1:root '^[(]([^)]*)[)]' \"$loader\"
    chainloader \"$loader\"
    boot
  fi
done
search --no-floppy --file --set=root /EFI/BOOT/BOOT$suffix.EFI
chainloader /EFI/BOOT/BOOT$suffix.EFI
boot
exit 1
";
/// With -1, PXELINUX reports a failure to the BIOS, which continues its boot order.
const PXELINUX_LOCAL: &str = "LABEL local\n  LOCALBOOT -1\n";

fn ipxe_failed(what: &str) -> String {
    format!(
        ":failed\necho lanboot: {what} could not be started: ${{errno}}\nsleep {FAILED_SECONDS}\nexit 1\n"
    )
}

fn grub_failed(name: &str) -> String {
    format!("echo 'lanboot: {name} could not be started'\nsleep {FAILED_SECONDS}\nexit 1\n")
}

fn ipxe_menu(entries: &[Entry], report: &str) -> String {
    // Labels are numbered, because a target may be called `failed`.
    let mut text = format!("#!ipxe\n{report}:start\nmenu lanboot\nitem local The local disk\n");
    for (i, entry) in entries.iter().enumerate() {
        let _ = writeln!(text, "item target{i} {}", entry.title);
    }
    let milliseconds = MENU_SECONDS * 1000;
    let _ = write!(
        text,
        "choose --default local --timeout {milliseconds} selected || goto local\ngoto ${{selected}}\n:local\n{IPXE_LOCAL}"
    );
    for (i, entry) in entries.iter().enumerate() {
        let _ = write!(text, ":target{i}\n{}boot || goto failed\n", entry.ipxe("failed"));
    }
    text.push_str(":failed\necho That did not work: ${errno}\nimgfree\n");
    let _ = write!(text, "prompt --timeout {milliseconds} Any key shows the menu again ||\ngoto start\n");
    text
}

fn grub_menu(entries: &[Entry]) -> String {
    let indented = |text: &str| text.lines().map(|line| format!("  {line}\n")).collect::<String>();
    let mut text = format!("set default=0\nset timeout={MENU_SECONDS}\n");
    let _ = write!(text, "menuentry 'The local disk' {{\n{}}}\n", indented(GRUB_LOCAL));
    for entry in entries {
        let title = entry.title.replace('\'', r"'\''");
        let _ = write!(text, "menuentry '{title}' {{\n{}}}\n", indented(&entry.grub()));
    }
    text
}

/// Works without a menu module, which may be missing: it lists the targets and prompts for a name.
fn pxelinux_menu(entries: &[Entry]) -> String {
    let mut text = format!("DEFAULT local\nPROMPT 1\nTIMEOUT {}\n", MENU_SECONDS * 10);
    text.push_str(
        "SAY Type a name and press Enter; nothing starts the local disk.\nSAY   local  The local disk\n",
    );
    for entry in entries {
        let _ = writeln!(text, "SAY   {}  {}", entry.name, entry.title);
    }
    text.push_str(PXELINUX_LOCAL);
    entries.iter().for_each(|entry| text.push_str(&entry.pxelinux()));
    text
}

#[cfg(test)]
mod tests;
