//! The limit on open files and sockets of this process. Servers that open a descriptor per client raise it at their
//! start.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as the kernel allows and returns it. A shell's default is 1,024, and each TFTP transfer and
/// each HTTP connection needs one socket and one file.
pub fn raise() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX)
}
