//! The text by which a loader starts what a machine is to start: for iPXE, GRUB and PXELINUX from the same entry.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::boot::fetch::Served;
use crate::boot::loader::escape::shell_word;
use crate::boot::loader::facts::Facts;
use crate::boot::loader::target::{Start, Target, Targets, is_url};
use crate::boot::policy::SERVER;

/// Who reads the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loader {
    /// iPXE, on every firmware.
    Ipxe,
    /// GRUB 2, on every firmware.
    Grub,
    /// PXELINUX, on a BIOS.
    Pxelinux,
}

/// How long a menu waits for a key before it starts the local disk, in seconds.
pub const MENU_SECONDS: u32 = 10;
/// How long a failure stays on the screen before the firmware goes on, in seconds.
const FAILED_SECONDS: u32 = 10;
/// Why no text can be made: which target, which of its keys, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptError {
    /// `targets.debian.cmdline`
    pub key: String,
    /// For people.
    pub why: String,
}

/// The text that makes `loader` start `start` on the machine that `facts` are of.
///
/// # Errors
/// A target has a variable in it that has no value for this machine, or something that this loader cannot be told. A menu
/// leaves such a target out.
pub fn script(
    loader: Loader,
    start: &Start,
    targets: &Targets,
    facts: &Facts<'_>,
    served: Served,
) -> Result<String, ScriptError> {
    let target = match start {
        Start::Target(name) => targets.get(name),
        Start::Menu => {
            let entries =
                targets.list.iter().filter_map(|target| Entry::new(loader, target, facts, served).ok());
            return Ok(menu(loader, &entries.collect::<Vec<_>>()));
        }
        Start::Local => None,
    };
    let Some(target) = target else { return Ok(local(loader)) };
    let entry = Entry::new(loader, target, facts, served)?;
    Ok(match loader {
        Loader::Ipxe => {
            format!("#!ipxe\n{}boot || goto failed\n{}", entry.ipxe("failed"), ipxe_failed(&entry.name))
        }
        Loader::Grub => format!("{}boot\n{}", entry.grub(), grub_failed(&entry.name)),
        Loader::Pxelinux => format!("DEFAULT {}\nPROMPT 0\n{}", entry.name, entry.pxelinux()),
    })
}

/// An iPXE script that goes on with another one: a name beneath boot-images/ or a URL.
pub fn chain(script: &str, server: Ipv4Addr, served: Served) -> String {
    let script = script.replace(SERVER, &server.to_string());
    let url = if is_url(&script) { script } else { served.url(server, &script) };
    format!("#!ipxe\nchain --replace {url} || goto failed\n{}", ipxe_failed(&url))
}

/// A target with everything filled in, fit for one loader.
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
            |key: &str, why: String| ScriptError { key: format!("targets.{}.{key}", target.name), why };
        let fill = |key: &str, text: &str| {
            let filled = facts.fill(text);
            let filled =
                filled.map_err(|name| error(key, format!("{{{name}}} is not known of this machine")))?;
            match unfit(loader, &filled) {
                Some(why) => Err(error(key, why)),
                None => Ok(filled),
            }
        };
        let file = |key: &str, name: &str| {
            let name = fill(key, name)?;
            // A blank ends the name of a file in its configuration, and a comma the name of a RAM disk.
            if loader == Loader::Pxelinux && name.contains([' ', ',']) {
                return Err(error(
                    key,
                    format!("PXELINUX cannot load {name}: its name has a blank or a comma in it"),
                ));
            }
            located(loader, &name, facts.server, served)
                .ok_or_else(|| error(key, format!("{loader:?} cannot load {name}: it has no such protocol")))
        };
        let cmdline = fill("cmdline", &target.cmdline)?;
        if let Some(why) = grub_problem(&cmdline).filter(|_| loader == Loader::Grub) {
            return Err(error("cmdline", why));
        }
        Ok(Entry {
            name: target.name.to_string(),
            title: target.title.clone(),
            kernel: file("kernel", &target.kernel)?,
            initrd: target.initrd.iter().map(|name| file("initrd", name)).collect::<Result<_, _>>()?,
            cmdline,
        })
    }

    /// The commands that load it. With UEFI, an older kernel looks its RAM disks up by the names in `initrd=`; a newer one
    /// takes what iPXE hands it and does not look.
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

    /// With KERNEL, PXELINUX would take `vmlinuz-6.1.0` for a boot program: what its name ends in would count.
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

/// Why `text` cannot be told this loader, if it cannot.
fn unfit(loader: Loader, text: &str) -> Option<String> {
    if text.chars().any(char::is_control) {
        return Some("a value has a line end or another control character in it".to_owned());
    }
    (loader == Loader::Ipxe).then(|| ipxe_problem(text)).flatten()
}

/// The words of a command line as a kernel reads it: spaces in double quotes end none.
fn kernel_words(line: &str) -> impl Iterator<Item = &str> {
    let mut in_quotes = false;
    let ends_word = move |c: char| {
        in_quotes ^= c == '"';
        c == ' ' && !in_quotes
    };
    line.split(ends_word).filter(|word| !word.is_empty())
}

/// A kernel's word without the quotes around it or its value. GRUB puts quotes around words with spaces itself
/// (`"key=two words"`, which a kernel takes for `key="two words"`), and a backslash before those that it is told of, with
/// which no kernel can do anything.
fn unquoted(word: &str) -> String {
    let without = |text: &str| text.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
    let value = || word.split_once('=').and_then(|(key, value)| Some(format!("{key}={}", without(value)?)));
    without(word).or_else(value).unwrap_or_else(|| word.to_owned())
}

/// What of a command line GRUB would put a backslash before, as a problem.
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
        "GRUB cannot tell a kernel {word}: it puts a backslash before each quote and backslash; only \" around a value \
         and \\x with two digits are possible"
    ))
}

/// What iPXE would take for more than text, as a problem. It has no quotes.
pub fn ipxe_problem(text: &str) -> Option<String> {
    if text.contains("${") {
        return Some(
            "${ is filled in by iPXE alone: write {mac}, {server} and so on, for all loaders".to_owned(),
        );
    }
    if text.ends_with('\\') {
        return Some("it ends in \\, by which iPXE joins two lines".to_owned());
    }
    let special = |word: &&str| matches!(*word, "||" | "&&" | ";") || word.starts_with('#');
    let word = text.split_ascii_whitespace().find(special)?;
    Some(format!("iPXE cannot be told the word {word}: it ends a command there, or begins a comment"))
}

/// `name` as this loader finds it; `None` if it has not the protocol of the URL.
fn located(loader: Loader, name: &str, server: Ipv4Addr, served: Served) -> Option<String> {
    let name = name.replace('\\', "/");
    if !is_url(&name) {
        return Some(match loader {
            Loader::Ipxe => served.url(server, &name),
            // From where its configuration came, which is us: by TFTP, or by HTTP after an HTTP boot.
            Loader::Grub => format!("/{name}"),
            // Without the folder of pxelinux.0 before it.
            Loader::Pxelinux => format!("::{name}"),
        });
    }
    let (scheme, rest) = name.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    match loader {
        // It is escaped already; only a value in it may have a space, which would end the word.
        Loader::Ipxe => Some(name.replace(' ', "%20")),
        // lpxelinux.0 has HTTP, pxelinux.0 only TFTP.
        Loader::Pxelinux if scheme == "https" => None,
        Loader::Pxelinux => Some(name),
        Loader::Grub if scheme == "https" => None,
        Loader::Grub => {
            let (host, path) = rest.split_once('/')?;
            Some(format!("({scheme},{host})/{path}"))
        }
    }
}

/// The local disk. On a BIOS iPXE and GRUB start it themselves, for not every BIOS goes on after a network boot that
/// ended. With UEFI an error is what makes firmware go on with its boot order: EDK2 shows its setup after a success. GRUB
/// ends with no error (2.06: whatever is said behind `exit`), so it starts what the disk has for UEFI itself.
fn local(loader: Loader) -> String {
    match loader {
        Loader::Ipxe => format!("#!ipxe\n{IPXE_LOCAL}"),
        Loader::Grub => GRUB_LOCAL.to_owned(),
        Loader::Pxelinux => format!("DEFAULT local\nPROMPT 0\n{PXELINUX_LOCAL}"),
    }
}

const IPXE_LOCAL: &str = "\
echo Starting the local disk
iseq ${platform} pcbios && sanboot --no-describe --drive 0x80 ||
exit 1
";
/// GRUB has no `&&`. Where distributions and Windows put their loaders comes before where any disk may have one, for what
/// is there may be an installer's, or shim's `fallback`, which starts the machine anew. Of a pattern that nothing matches,
/// the pattern is left. A loader looks for more on the disk that is the root when it is loaded.
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
/// -1: PXELINUX reports a failure to the BIOS, which goes on with its boot order.
const PXELINUX_LOCAL: &str = "LABEL local\n  LOCALBOOT -1\n";

fn ipxe_failed(what: &str) -> String {
    format!(
        ":failed\necho lanboot: {what} could not be started: ${{errno}}\nsleep {FAILED_SECONDS}\nexit 1\n"
    )
}

fn grub_failed(name: &str) -> String {
    format!("echo 'lanboot: {name} could not be started'\nsleep {FAILED_SECONDS}\nexit 1\n")
}

fn menu(loader: Loader, entries: &[Entry]) -> String {
    match loader {
        Loader::Ipxe => ipxe_menu(entries),
        Loader::Grub => grub_menu(entries),
        Loader::Pxelinux => pxelinux_menu(entries),
    }
}

fn ipxe_menu(entries: &[Entry]) -> String {
    // Labels are made from numbers: a target may be called `failed`.
    let mut text = "#!ipxe\n:start\nmenu lanboot\nitem local The local disk\n".to_owned();
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

/// Without a menu module, which need not be there: a list, and a prompt where a name is typed.
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
