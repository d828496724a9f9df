//! Enums with a stable name for each variant: message types, and the reasons why a message was dropped or refused.

/// Defines an enum of unit variants with a stable name for each. Logs, counters and tests use these names.
macro_rules! named {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $type { $($(#[$doc])* $variant,)* }

        impl $type {
            /// All variants, in the order of the source.
            pub const ALL: &[$type] = &[$($type::$variant,)*];

            /// Returns the stable name.
            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }
        }
    };
}

named! {
    /// The types of DHCP messages (RFC 2132 section 9.6) and of BOOTP, under the names that users grep for.
    Message {
        Discover = "DHCPDISCOVER",
        Offer = "DHCPOFFER",
        Request = "DHCPREQUEST",
        Decline = "DHCPDECLINE",
        Ack = "DHCPACK",
        Nak = "DHCPNAK",
        Release = "DHCPRELEASE",
        Inform = "DHCPINFORM",
        /// A BOOTREQUEST without a message type.
        BootpRequest = "BOOTPREQUEST",
        /// The reply to a plain BOOTREQUEST.
        BootpReply = "BOOTPREPLY",
        /// An OFFER or ACK that names a boot file but assigns no address.
        Proxy = "PROXYDHCP",
    }
}

named! {
    /// The reason why a DHCP or BOOTP message was dropped. `tests/rules/reasons.rs` checks that each variant has a test.
    DropReason {
        /// The message arrived on an interface that is not served.
        NotServed = "interface_not_served",
        /// The message is shorter than the 236 bytes of a BOOTP header.
        TooShort = "too_short",
        /// `hlen` is larger than the 16 bytes of `chaddr`.
        BadHlen = "bad_hlen",
        /// The message is not a BOOTREQUEST.
        NotRequest = "not_a_request",
        /// The options end in the middle of an option, before any message type.
        Malformed = "malformed",
        /// Option 53 is not one byte long, is unknown, or is a type that only servers send.
        BadMessageType = "bad_message_type",
        /// The message has neither a hardware address nor a client identifier.
        NoIdentity = "no_identity",
        /// No subnet contains the address of the interface, the relay agent or the client.
        NoSubnet = "no_subnet",
        /// The relay agent (`giaddr`) is not configured.
        UnknownRelay = "unknown_relay",
        /// The REQUEST, DECLINE or RELEASE names another server.
        OtherServer = "other_server",
        /// The REQUEST fits none of the four forms of RFC 2131 section 4.3.2.
        BadRequest = "bad_request",
        /// The client wants to keep a lease that is not recorded here; another server may have it.
        UnknownLease = "unknown_lease",
        /// The RELEASE or DECLINE names an address that this client does not hold.
        NotOwner = "not_owner",
        /// The address for this client is being checked. The reply follows when the check ends.
        Checking = "checking",
        /// The limit of clients with one MAC is reached.
        TooManyIds = "too_many_ids",
        /// The subnet has no free address.
        PoolExhausted = "pool_exhausted",
        /// No subnet or pool on the wire is for clients of this class.
        NotAdmitted = "class_not_admitted",
        /// The configuration says that this client, or its class, gets no answer.
        Ignored = "ignored",
        /// The address would come from the pool, but another server assigns addresses there and the configuration says
        /// `authoritative: false`.
        AnotherServerLeases = "beside_server",
        /// The DECLINE would take more than a fifth of the pool out of use.
        TooManyDeclined = "too_many_declined",
        /// The DECLINE did not come from the hardware address that it gives in `chaddr`.
        ForgedDecline = "forged_decline",
        /// The RELEASE did not come from the hardware address that it gives in `chaddr`.
        ForgedRelease = "forged_release",
        /// The DECLINE is wrong: the client itself still answers at the address, or no machine answers at a reserved
        /// one.
        DeclineUnfounded = "decline_unfounded",
        /// The configuration does not answer BOOTP, or not this client.
        BootpRefused = "bootp_refused",
        /// The client does not boot from the network, and on this interface another server assigns the addresses.
        NotNetboot = "not_network_boot",
        /// The message is about an address, and on this interface another server assigns the addresses.
        ProxyOnly = "proxy_only",
        /// The client boots from the network, but no boot file is configured for it.
        NoBootFile = "no_boot_file",
        /// The lease could not be stored, so the reply was not sent.
        StoreFailed = "store_failed",
        /// The message waited in the queue of the kernel for so long that the client has sent it again.
        Stale = "stale",
        /// The queue of messages that wait for the store is full.
        Overload = "overload",
        /// The kernel refused to send the reply: no route, or the interface disappeared.
        SendFailed = "send_failed",
        /// lanboot itself failed while it handled the message.
        Fault = "fault",
    }
}

named! {
    /// The reason why a TFTP request was refused.
    Refusal {
        /// No regular file has this name.
        NotFound = "not_found",
        /// The name leaves boot-images/, or is not a valid file name.
        BadName = "bad_name",
        /// The file exists but cannot be read.
        AccessDenied = "access_denied",
        /// The template of this file failed to render. The log has the error. A partial file is never served.
        Template = "template",
        /// The queue of templates to render is full, or this request waited in it too long.
        RenderQueue = "render_queue",
        /// Uploads are disabled.
        Upload = "upload",
        /// A file of this name exists: uploads never replace a file.
        Exists = "exists",
        /// The upload is larger than the configured limit.
        TooLarge = "too_large",
        /// The folder for uploads is full, or this client's share of it.
        UploadsFull = "uploads_full",
        /// The disk has no space for the upload.
        DiskFull = "disk_full",
        /// The client's address is in none of the served or allowed networks.
        NotAllowed = "not_allowed",
        /// The file is generated for another machine than the one at the client's address.
        OtherMachine = "other_machine",
        /// The limit of concurrent transfers is reached.
        Busy = "busy",
        /// A read or write failed on the disk.
        Io = "io",
    }
}

named! {
    /// The reason why an upload ended before the end of the file.
    UploadStop {
        /// The client stopped sending.
        Silent = "silent",
        /// The client sent an ERROR.
        Client = "client_error",
        /// ICMP reported the client's port as unreachable.
        Unreachable = "unreachable",
        /// The client violated the protocol.
        Illegal = "illegal",
        /// The client sent another request from the same port.
        Replaced = "replaced",
        /// The client sent no new data and its place was needed for another upload.
        Evicted = "evicted",
        /// lanboot is shutting down.
        ServerStops = "server_stops",
    }
}

named! {
    /// The reason why a datagram to the TFTP server got no answer. Each variant has a test.
    Unanswered {
        /// The datagram is not a request. An error in reply could start an endless exchange of errors (CVE-2024-2169).
        NotRequest = "tftp_not_a_request",
        /// The request could not be decoded. The sender gets an ERROR.
        Malformed = "tftp_malformed",
        /// The datagram was sent to a broadcast address (RFC 1123 section 4.2.3.5).
        Broadcast = "tftp_broadcast",
        /// The client's address is in none of the served or allowed networks.
        NotAllowed = "tftp_stranger",
        /// The requested transfer is already running.
        Duplicate = "tftp_duplicate",
        /// lanboot is shutting down. The client's retry may reach the next instance.
        ServerStops = "tftp_server_stops",
        /// The datagram arrived at the port of another client's transfer. The sender gets one ERROR (RFC 1350 section
        /// 4).
        UnknownTransfer = "tftp_unknown_transfer",
        /// The limit of errors per second for the client's /24 network is reached.
        ErrorRate = "tftp_error_rate",
    }
}
