//! Reasons why packets of boots are not kept.

named! {
    /// The reason why a packet was not kept for `lanboot capture`, or was removed.
    CaptureDrop {
        /// No machine is known at the address of the packet.
        NoMachine = "capture_no_machine",
        /// Newer packets of the same machine needed the room.
        MachineFull = "capture_machine_full",
        /// Packets of other machines needed the room.
        Full = "capture_full",
        /// Packets came faster than they were read.
        TooSlow = "capture_too_slow",
        /// Too many questions to the boot service came at once to find out whether its socket received them.
        TooManyQuestions = "capture_too_many_questions",
    }
}
