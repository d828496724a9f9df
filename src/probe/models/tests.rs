//! The models held to the rules that their comments name, reply by reply.
