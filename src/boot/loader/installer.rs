//! Kernel arguments that make an installer log to lanboot. `config/` adds them to targets while `syslog` is on.

/// The word before the arguments that Debian's installer keeps for the installed system.
const INSTALLED: &str = "---";

/// The kernel command line of a target with the arguments by which its installer logs to `port` of this server; `None` if it
/// is no known installer, or if the arguments are there already.
///
/// - Debian's installer: `log_host` and `log_port` (installation guide, section 5.3).
/// - Anaconda, of Fedora and Red Hat: `inst.syslog=HOST:PORT` (its boot-options.rst).
pub fn with_log_arguments(kernel: &str, cmdline: &str, port: u16) -> Option<String> {
    let words: Vec<&str> = cmdline.split_ascii_whitespace().collect();
    let has = |start: &str| words.iter().any(|word| word.starts_with(start));
    let is_debian = kernel.contains("debian-installer/")
        || has("preseed/")
        || has("debian-installer/")
        || has("auto=") && has("url=");
    let added = if has("inst.") {
        (!has("inst.syslog=")).then(|| format!("inst.syslog={{server}}:{port}"))
    } else if is_debian {
        (!has("log_host=")).then(|| format!("log_host={{server}} log_port={port}"))
    } else {
        None
    };
    let added = added?;
    // Everything after that word would also be an argument of the installed system.
    let place = cmdline.split(' ').position(|word| word == INSTALLED);
    let mut parts: Vec<&str> = cmdline.split(' ').filter(|word| !word.is_empty()).collect();
    let place = place.and_then(|_| parts.iter().position(|word| *word == INSTALLED)).unwrap_or(parts.len());
    parts.insert(place, &added);
    Some(parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_installers_log_to_this_server() {
        let with = |kernel, cmdline| with_log_arguments(kernel, cmdline, 514);
        let debian = "debian-installer/amd64/linux";
        assert_eq!(with(debian, "").unwrap(), "log_host={server} log_port=514");
        assert_eq!(
            with("linux", "auto=true url=http://{server}/p.cfg --- quiet").unwrap(),
            "auto=true url=http://{server}/p.cfg log_host={server} log_port=514 --- quiet"
        );
        assert_eq!(
            with("vmlinuz", "inst.ks=http://{server}/ks.cfg").unwrap(),
            "inst.ks=http://{server}/ks.cfg inst.syslog={server}:514"
        );
        assert_eq!(with(debian, "log_host=10.0.0.9"), None, "a person chose another server");
        assert_eq!(with("vmlinuz", "inst.repo=x inst.syslog=10.0.0.9"), None);
        assert_eq!(with("vmlinuz", "root=/dev/nfs ip=dhcp"), None);
    }
}
