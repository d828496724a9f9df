//! ERROR packets for refused requests.

use crate::event::Refusal;
use crate::wire::tftp::{ErrorCode, Packet};

/// The ERROR for a request that cannot be decoded: an unknown mode, or a string without its NUL.
pub const MALFORMED: Packet<'static> =
    Packet::Error { code: ErrorCode::ILLEGAL, message: b"The request cannot be read" };

/// Returns the ERROR for `reason` (RFC 1350 section 5). The text is fixed and never contains a path of this host.
pub fn error(reason: Refusal) -> Packet<'static> {
    let (code, message): (ErrorCode, &[u8]) = match reason {
        Refusal::NotFound => (ErrorCode::NOT_FOUND, b"File not found"),
        Refusal::BadName
        | Refusal::AccessDenied
        | Refusal::Upload
        | Refusal::NotAllowed
        | Refusal::OtherMachine => (ErrorCode::ACCESS_VIOLATION, b"Access violation"),
        Refusal::Exists => (ErrorCode::EXISTS, b"File already exists"),
        Refusal::TooLarge => (ErrorCode::DISK_FULL, b"File is too large"),
        Refusal::UploadsFull => (ErrorCode::DISK_FULL, b"No more uploads are taken"),
        Refusal::DiskFull => (ErrorCode::DISK_FULL, b"Disk full"),
        Refusal::Busy | Refusal::RenderQueue => (ErrorCode::UNDEFINED, b"Server is busy, try again"),
        Refusal::Template => (ErrorCode::UNDEFINED, b"The script has an error: see the server's log"),
        Refusal::Io => (ErrorCode::UNDEFINED, b"The server's disk failed"),
    };
    Packet::Error { code, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_08_every_refusal_has_a_short_text() {
        for reason in Refusal::ALL {
            let Packet::Error { message, .. } = error(*reason) else { panic!("{reason:?}") };
            assert!(!message.is_empty() && message.len() <= 64 && message.is_ascii(), "{reason:?}");
        }
        let code = |reason| match error(reason) {
            Packet::Error { code, .. } => code.0,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [Refusal::NotFound, Refusal::Upload, Refusal::TooLarge, Refusal::Exists].map(code),
            [1, 2, 3, 6]
        );
    }
}
