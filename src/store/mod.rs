//! Durable leases.
