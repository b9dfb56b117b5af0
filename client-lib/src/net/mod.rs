//! What the system knows of its network, and attempts that overlap.

pub(crate) mod interfaces;
mod race;

pub(crate) use race::first_success;
