//! genome.
