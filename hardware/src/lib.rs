//! hardware.
