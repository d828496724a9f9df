//! Reasons why HTTP refused a request or broke off an answer.

use super::reason::Refusal;

named! {
    /// The reason why an HTTP request was refused.
    HttpRefusal {
        /// The request is not HTTP, or its path holds NUL, `..` or a backslash.
        BadRequest = "bad_request",
        /// The head has more bytes or more fields than the server reads.
        HeadTooLarge = "head_too_large",
        /// The body has more bytes than the server reads.
        BodyTooLarge = "body_too_large",
        /// The body that a template is rendered with is not JSON.
        BadBody = "bad_body",
        /// A report of facts about a machine is too long, or does not state its MAC.
        BadFacts = "bad_facts",
        /// A report of facts about a machine comes from an address that is not known to be that machine's.
        FactsOfOther = "facts_of_other_machine",
        /// The head did not arrive in time.
        SlowHead = "slow_head",
        /// The method is not GET or HEAD: boot files are read-only. A template may be requested by POST too.
        Method = "method_not_allowed",
        /// No regular file has this name.
        NotFound = "not_found",
        /// The name leaves boot-images/, or is not a valid file name.
        BadName = "bad_name",
        /// The file exists but cannot be read.
        AccessDenied = "access_denied",
        /// A browser requests, on behalf of a web page, a file that only booting machines may have.
        Browser = "browser",
        /// As [`HttpRefusal::Browser`], and the `Host` field names a host that is not this server (DNS rebinding).
        ForeignHost = "foreign_host",
        /// The client's address is in none of the served or allowed networks.
        NotAllowed = "not_allowed",
        /// The file is generated for another machine, or only the machine itself may change it.
        OtherMachine = "other_machine",
        /// The limit of open connections is reached, in all or for this address; or no file descriptor is free.
        Busy = "busy",
        /// The connection was idle and was closed in favour of a new one.
        GaveWay = "gave_way",
        /// The template of this file failed to render. The log has the error.
        Template = "template",
        /// The queue of templates to render is full, or this request waited in it too long.
        RenderQueue = "render_queue",
        /// A read from the disk failed.
        Io = "io",
    }
}

impl From<Refusal> for HttpRefusal {
    fn from(refusal: Refusal) -> HttpRefusal {
        match refusal {
            Refusal::NotFound => HttpRefusal::NotFound,
            Refusal::BadName => HttpRefusal::BadName,
            Refusal::AccessDenied => HttpRefusal::AccessDenied,
            Refusal::NotAllowed => HttpRefusal::NotAllowed,
            Refusal::OtherMachine => HttpRefusal::OtherMachine,
            Refusal::Busy => HttpRefusal::Busy,
            Refusal::Template => HttpRefusal::Template,
            Refusal::RenderQueue => HttpRefusal::RenderQueue,
            Refusal::Io => HttpRefusal::Io,
            // Only writes can fail for these reasons, and HTTP only reads.
            Refusal::Upload
            | Refusal::Exists
            | Refusal::TooLarge
            | Refusal::UploadsFull
            | Refusal::DiskFull => HttpRefusal::Method,
        }
    }
}

named! {
    /// The reason why an HTTP answer ended early.
    HttpStop {
        /// The client closed the connection or disappeared.
        ClientGone = "client_gone",
        /// The client received less than 1 KiB/s.
        TooSlow = "too_slow",
        /// The client received nothing for a while and was closed in favour of a new connection.
        GaveWay = "gave_way",
        /// lanboot is shutting down and the grace period is over.
        ServerStops = "server_stops",
        /// The file became shorter after the answer had begun.
        FileShrank = "file_shrank",
        /// A read from the disk failed.
        Io = "io",
    }
}
