//! Why HTTP did not do what was asked.

use super::Refusal;

named! {
    /// Why an HTTP request was refused.
    HttpRefusal {
        /// Not HTTP, or not a name: NUL, `..`, a backslash.
        BadRequest = "bad_request",
        /// The head has more bytes or fields than are read.
        HeadTooLarge = "head_too_large",
        /// The body has more bytes than are read.
        BodyTooLarge = "body_too_large",
        /// The head took too long to come.
        SlowHead = "slow_head",
        /// Boot files are only read.
        Method = "method_not_allowed",
        /// No regular file of that name.
        NotFound = "not_found",
        /// The name leaves boot-images/, or is not a name of a file.
        BadName = "bad_name",
        /// The file is there but may not be read.
        AccessDenied = "access_denied",
        /// A browser asks on behalf of a web page, for what only machines that boot may.
        Browser = "browser",
        /// The same, for a file under a name for this server that is not one of its own (DNS rebinding).
        ForeignHost = "foreign_host",
        /// The address is in none of the served or allowed networks.
        NotAllowed = "not_allowed",
        /// It is made for another machine, or only that one may say it.
        OtherMachine = "other_machine",
        /// As many connections as allowed are open, from that address or in all, or no file can be opened for now.
        Busy = "busy",
        /// The connection was idle, and another one needed its place.
        GaveWay = "gave_way",
        /// The text that is made for the machine has an error in it, which is in the log.
        Template = "template",
        /// More texts than may wait are to be made from templates, or this one has waited too long.
        RenderQueue = "render_queue",
        /// The disk failed.
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
            // These are about writing, and HTTP only reads.
            Refusal::Upload
            | Refusal::Exists
            | Refusal::TooLarge
            | Refusal::UploadsFull
            | Refusal::DiskFull => HttpRefusal::Method,
        }
    }
}

named! {
    /// Why an HTTP answer ended before its end.
    HttpStop {
        /// The client closed the connection, or is gone.
        ClientGone = "client_gone",
        /// The client took less than 1 KiB/s.
        TooSlow = "too_slow",
        /// The client took nothing for long, and another connection needed its place.
        GaveWay = "gave_way",
        /// lanboot stops, and has waited for it long enough.
        ServerStops = "server_stops",
        /// The file became shorter than it was when the answer began.
        FileShrank = "file_shrank",
        /// The disk failed.
        Io = "io",
    }
}
