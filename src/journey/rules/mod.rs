//! The rules of judgement: one function for each verdict. They are asked in the order of [`RULES`], and the first that
//! fits counts. A rule reads what came and what did not come in time.

mod answers;
mod case;
mod files;
mod loaders;
mod systems;

use crate::journey::verdict::{Verdict, VerdictId};

pub use case::Case;

type Rule = fn(&Case<'_>) -> Option<Verdict>;

/// All rules of boots, in the order in which they count where several fit. `never_seen` and `booted_from_disk` are
/// states of machines: see `state.rs`.
pub const RULES: &[(VerdictId, Rule)] = &[
    (VerdictId::NoFileForArchitecture, answers::no_file_for_architecture),
    (VerdictId::PoolExhausted, answers::pool_exhausted),
    (VerdictId::AddressConflict, answers::address_conflict),
    (VerdictId::OtherServerChosen, answers::other_server_chosen),
    (VerdictId::Port4011Silent, answers::port_4011_silent),
    (VerdictId::ReplyTooLarge, answers::reply_too_large),
    (VerdictId::RelayDropsReplies, answers::relay_drops_replies),
    (VerdictId::ServerSlow, answers::server_slow),
    (VerdictId::LinkFlaps, answers::link_flaps),
    (VerdictId::OffersNotSelected, answers::offers_not_selected),
    (VerdictId::IpxeNoNetwork, loaders::ipxe_uses_other_card),
    (VerdictId::RepliesLost, answers::replies_lost),
    (VerdictId::ServerSlow, files::server_reads_slowly),
    (VerdictId::FileMissing, files::file_missing),
    (VerdictId::NotEnoughRam, systems::too_little_memory),
    (VerdictId::KernelMissing, files::kernel_missing),
    (VerdictId::InstallerFailed, systems::installer_failed),
    (VerdictId::ScriptFailed, files::script_names_missing_file),
    (VerdictId::BlockSizeTooLarge, files::block_size_too_large),
    (VerdictId::TftpBlocked, files::tftp_blocked),
    (VerdictId::TftpNotStarted, files::tftp_not_started),
    (VerdictId::WrongArchitecture, loaders::wrong_architecture),
    (VerdictId::IpxeLoop, loaders::ipxe_loop),
    (VerdictId::SecureBootRefused, loaders::secure_boot_refused),
    (VerdictId::IpxeNoNetwork, loaders::ipxe_no_network),
    (VerdictId::SecureBootRefused, loaders::loader_is_silent),
    (VerdictId::ScriptFailed, files::script_failed),
    (VerdictId::NotEnoughRam, systems::starts_again_after_initrd),
    (VerdictId::InitrdNoNetwork, systems::initrd_no_network),
];

/// Judges a boot that is silent, has an obstacle, or whose firmware speaks again. `None` if nothing is wrong with it.
pub fn judge(case: &Case<'_>) -> Option<Verdict> {
    RULES.iter().find_map(|(_, rule)| rule(case))
}
