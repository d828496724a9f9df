//! Reasons why a line that was sent to the syslog receiver is not recorded.

named! {
    /// The reason why a syslog message or its connection was dropped.
    SyslogDrop {
        /// The message has no text.
        Empty = "syslog_empty",
        /// The sender is in no network that is served.
        NotAllowed = "syslog_not_allowed",
        /// The sender logs more lines per second than one machine may.
        TooManyLines = "syslog_too_many_lines",
        /// All senders together log more lines per second than are recorded.
        TooManyInAll = "syslog_too_many_in_all",
        /// The message is longer than is read.
        TooLong = "syslog_too_long",
        /// The limit of connections, or that of one address, is reached.
        TooManyConnections = "syslog_too_many_connections",
        /// The connection was silent for too long.
        Idle = "syslog_idle",
        /// The connection was silent for longer than all others, and another machine needed its place.
        GaveWay = "syslog_gave_way",
        /// The connection was closed, because its sender logged more lines than one machine may for too long.
        Flood = "syslog_flood",
    }
}
