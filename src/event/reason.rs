//! Closed lists with a stable name for each: kinds of messages, and why something was not done.

/// Gives an enum of unit variants a stable name for each: what logs, counters and tests call it.
macro_rules! named {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $type { $($(#[$doc])* $variant,)* }

        impl $type {
            /// All of them.
            pub const ALL: &[$type] = &[$($type::$variant,)*];

            /// Its stable name.
            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }
        }
    };
}

named! {
    /// Kinds of DHCP messages (RFC 2132 section 9.6) and the two of BOOTP, as people grep for them.
    Message {
        /// DISCOVER.
        Discover = "DHCPDISCOVER",
        /// OFFER.
        Offer = "DHCPOFFER",
        /// REQUEST.
        Request = "DHCPREQUEST",
        /// DECLINE.
        Decline = "DHCPDECLINE",
        /// ACK.
        Ack = "DHCPACK",
        /// NAK.
        Nak = "DHCPNAK",
        /// RELEASE.
        Release = "DHCPRELEASE",
        /// INFORM.
        Inform = "DHCPINFORM",
        /// A BOOTREQUEST without a message type.
        BootpRequest = "BOOTPREQUEST",
        /// The answer to it.
        BootpReply = "BOOTPREPLY",
        /// An OFFER or ACK of a boot file without an address.
        Proxy = "PROXYDHCP",
    }
}

named! {
    /// Why a DHCP or BOOTP message was not answered. Each has a test: tests/rules/reasons.rs looks for it.
    DropReason {
        /// It came in on an interface that is not served.
        NotServed = "interface_not_served",
        /// Fewer than the 236 bytes of a BOOTP header.
        TooShort = "too_short",
        /// Hardware address longer than the 16 bytes of its field.
        BadHlen = "bad_hlen",
        /// Not a BOOTREQUEST.
        NotRequest = "not_a_request",
        /// The options end in the middle of one, before any message type.
        Malformed = "malformed",
        /// Option 53 is not one byte, not known, or one that servers send.
        BadMessageType = "bad_message_type",
        /// Neither a hardware address nor a client identifier.
        NoIdentity = "no_identity",
        /// No subnet here has the interface's, the relay agent's or the client's address.
        NoSubnet = "no_subnet",
        /// The relay agent (giaddr) is not one of ours.
        UnknownRelay = "unknown_relay",
        /// A REQUEST, DECLINE or RELEASE for another server.
        OtherServer = "other_server",
        /// A REQUEST that fits none of the four forms of RFC 2131 section 4.3.2.
        BadRequest = "bad_request",
        /// Nothing is known of the lease that the client wants to keep; another server may know it.
        UnknownLease = "unknown_lease",
        /// RELEASE or DECLINE of an address that is not that client's.
        NotOwner = "not_owner",
        /// The address it would get is being checked; the answer comes when that is done.
        Checking = "checking",
        /// As many other clients with its MAC have an address as may have one.
        TooManyIds = "too_many_ids",
        /// No free address is left in the subnet.
        PoolExhausted = "pool_exhausted",
        /// It would get an address of the pool, but another server gives addresses there and the configuration says
        /// `authoritative: false`.
        BesideServer = "beside_server",
        /// DECLINE beyond a fifth of the pool.
        TooManyDeclined = "too_many_declined",
        /// DECLINE that did not come from the hardware address that it names as its client's.
        ForgedDecline = "forged_decline",
        /// DECLINE of an address where the client itself still answers, or of a reserved one where no machine answers.
        DeclineUnfounded = "decline_unfounded",
        /// Plain BOOTP, and the configuration does not answer it, or not this client.
        BootpRefused = "bootp_refused",
        /// It does not boot from the network, and on this interface another server gives the addresses.
        NotNetboot = "not_network_boot",
        /// A message about an address, on an interface where another server gives them.
        ProxyOnly = "proxy_only",
        /// A client that boots from the network, and no boot file for it.
        NoBootFile = "no_boot_file",
        /// The lease could not be written to disk, so the promise was not sent.
        StoreFailed = "store_failed",
        /// More messages than can wait for the disk.
        Overload = "overload",
        /// The kernel did not take the reply: no route, or the interface went away.
        SendFailed = "send_failed",
        /// A fault in lanboot itself while it handled this message.
        Fault = "fault",
    }
}

named! {
    /// Why a TFTP request was refused.
    Refusal {
        /// No regular file of that name.
        NotFound = "not_found",
        /// The name leaves boot-images/, or is not a name of a file.
        BadName = "bad_name",
        /// The file is there but may not be read.
        AccessDenied = "access_denied",
        /// The text that is made for the machine has an error in it, which is in the log: nothing half made is served.
        Template = "template",
        /// More texts than may wait are to be made from templates, or this one has waited too long.
        RenderQueue = "render_queue",
        /// Uploads are not served.
        Upload = "upload",
        /// A file of that name is there: uploads never replace one.
        Exists = "exists",
        /// The upload is larger than allowed.
        TooLarge = "too_large",
        /// The folder for uploads holds as much as it may, or as much of this client.
        UploadsFull = "uploads_full",
        /// The disk has no room for the upload.
        DiskFull = "disk_full",
        /// The address is in none of the served or allowed networks.
        NotAllowed = "not_allowed",
        /// It would be made for another machine than the one that is known to ask.
        OtherMachine = "other_machine",
        /// As many transfers as allowed are under way.
        Busy = "busy",
        /// The disk failed.
        Io = "io",
    }
}

named! {
    /// Why an upload ended before the end of the file.
    UploadStop {
        /// Nothing was heard of the client any more.
        Silent = "silent",
        /// The client sent an ERROR.
        Client = "client_error",
        /// The network says that nobody listens at the client's port.
        Unreachable = "unreachable",
        /// The client broke the protocol.
        Illegal = "illegal",
        /// The client asked for something else from the same port.
        Replaced = "replaced",
        /// Nothing new came of the client, and another upload needed its place.
        Evicted = "evicted",
        /// lanboot stops.
        ServerStops = "server_stops",
    }
}

named! {
    /// Why a datagram to the TFTP server was not answered. Each has a test.
    Unanswered {
        /// It is no request: two servers that answer errors with errors never stop (CVE-2024-2169).
        NotRequest = "tftp_not_a_request",
        /// A request that cannot be read. The sender is told.
        Malformed = "tftp_malformed",
        /// It was sent to all and not to us (RFC 1123 section 4.2.3.5).
        Broadcast = "tftp_broadcast",
        /// The address is in none of the served or allowed networks.
        Stranger = "tftp_stranger",
        /// The transfer that it asks for is under way.
        Duplicate = "tftp_duplicate",
        /// lanboot stops: who asks again may find the next one.
        ServerStops = "tftp_server_stops",
        /// It came to the port of another client's transfer. The sender is told, once (RFC 1350 section 4).
        UnknownTransfer = "tftp_unknown_transfer",
        /// More errors than a network of 256 addresses is sent in a second.
        ErrorRate = "tftp_error_rate",
    }
}
