//! Messages of kernels, initrds and installers.

use crate::journey::codes::code::ShownBy::System;
use crate::journey::codes::code::{ScreenCode, row};

pub(super) const CODES: &[ScreenCode] = &[
    row(
        System,
        "",
        "Kernel panic - not syncing: VFS: Unable to mount root",
        "The initrd is missing or cut off, or has no driver.",
        &["kernel_missing", "not_enough_ram"],
    ),
    row(
        System,
        "",
        "Unable to find a medium containing a live file system",
        "The initrd found no network card, or did not reach the image.",
        &["initrd_no_network"],
    ),
    row(
        System,
        "",
        "Initramfs unpacking failed",
        "The initrd is cut off, or the machine has too little memory.",
        &["not_enough_ram", "kernel_missing"],
    ),
    row(System, "", "write error", "The initrd does not fit into memory.", &["not_enough_ram"]),
    row(
        System,
        "",
        "System is deadlocked on memory",
        "The machine has too little memory for the kernel and its initrd.",
        &["not_enough_ram"],
    ),
    row(
        System,
        "",
        "dracut-initqueue timeout",
        "The initrd waits for the network or for its root file system.",
        &["initrd_no_network"],
    ),
    row(
        System,
        "",
        "No network interfaces detected",
        "The installer has no driver for the network card.",
        &["initrd_no_network"],
    ),
    row(
        System,
        "",
        "Network autoconfiguration failed",
        "The installer got no address by DHCP.",
        &["initrd_no_network", "replies_lost"],
    ),
    row(
        System,
        "",
        "Failed to retrieve the preconfiguration file",
        "The answer file of the Debian installer is missing or not readable.",
        &["installer_failed"],
    ),
    row(System, "", "Bad archive mirror", "The installer cannot reach its mirror.", &["installer_failed"]),
    row(System, "", "anaconda: error", "The installer stopped; its log says why.", &["installer_failed"]),
    row(
        System,
        "",
        "error fetching kickstart",
        "The kickstart file is missing or not readable.",
        &["installer_failed"],
    ),
    row(
        System,
        "",
        "nfs: server not responding",
        "The root file system on NFS does not answer.",
        &["initrd_no_network", "server_slow"],
    ),
    row(System, "", "ipconfig: no response", "The initrd got no address by DHCP.", &["initrd_no_network"]),
];
