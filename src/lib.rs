//! Wend.
