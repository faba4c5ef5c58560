//! Adapter directories: what is in them, whether it is sound, and the hashes of their files.
//!
//! The checks are pure, over bytes: [`safetensors`] reads the header, [`config`] the configuration, [`tensors`] holds the
//! two against each other, [`scan`] looks at the numbers. [`directory`] is the shell around them, which reads the
//! files.

pub mod config;
pub mod directory;
mod json;
pub mod safetensors;
pub mod scan;
pub mod tensors;

pub use directory::{Adapter, ReadError};

/// What is wrong with an adapter's file. Each says which tensor and which numbers, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Not even a header's length.
    #[error("has only {len} bytes, which is no safetensors file: export the adapter again")]
    TooShort {
        /// The file's length.
        len: u64,
    },
    /// A pickle, or an archive of them, under whatever name.
    #[error("is a pickle, which can run code when it is loaded: save the adapter as safetensors")]
    Pickle,
    /// The header claims more than the file holds.
    #[error("claims a header of {claimed} bytes, but the file has {len}: it is damaged, copy or export it again")]
    HeaderBeyondEnd {
        /// The claimed length.
        claimed: u64,
        /// The file's length.
        len: u64,
    },
    /// The header is larger than any adapter needs.
    #[error("has a header of {claimed} bytes, at most {max} are read: this is no adapter")]
    HeaderTooLong {
        /// The claimed length.
        claimed: u64,
        /// The most that is read.
        max: u64,
    },
    /// The header or the configuration is no JSON of the form it should have.
    #[error("is not valid JSON for its purpose ({reason}): export the adapter again")]
    Json {
        /// What the parser says.
        reason: String,
    },
    /// A name that stands twice in the header or the configuration.
    #[error("names `{key}` twice: export the adapter again")]
    DuplicateKey {
        /// The name.
        key: String,
    },
    /// There are no tensors.
    #[error("holds no tensors: export the adapter again")]
    Empty,
    /// More tensors than are looked at.
    #[error("holds {count} tensors, at most {max} are accepted")]
    TooManyTensors {
        /// How many there are.
        count: usize,
        /// How many are accepted.
        max: usize,
    },
    /// A type of numbers that adapters do not have.
    #[error("tensor `{tensor}` has type {dtype}; accepted are F16, BF16 and F32: convert the adapter")]
    Dtype {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: String,
    },
    /// Bytes and shape do not fit together.
    #[error(
        "tensor `{tensor}` takes {found} bytes, but {dtype} of shape {shape:?} needs {wanted}: export the adapter again"
    )]
    Size {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: String,
        /// Its shape.
        shape: Vec<u64>,
        /// What type and shape need; `overflow` beyond 64 bits.
        wanted: String,
        /// What the offsets give it.
        found: u64,
    },
    /// An end before the beginning.
    #[error("tensor `{tensor}` ends at byte {end}, before it begins at {begin}: export the adapter again")]
    Backwards {
        /// The tensor.
        tensor: String,
        /// Where it begins.
        begin: u64,
        /// Where it ends.
        end: u64,
    },
    /// Two tensors share bytes.
    #[error("tensors `{first}` and `{second}` overlap at byte {at} of the data: export the adapter again")]
    Overlap {
        /// The one that begins first.
        first: String,
        /// The other.
        second: String,
        /// Where the second begins.
        at: u64,
    },
    /// Bytes that belong to no tensor.
    #[error("has {len} bytes before tensor `{tensor}` that belong to no tensor: export the adapter again")]
    Hole {
        /// The tensor after the hole.
        tensor: String,
        /// How many bytes.
        len: u64,
    },
    /// Bytes after the last tensor.
    #[error("has {len} bytes after the last tensor: export the adapter again")]
    TrailingBytes {
        /// How many.
        len: u64,
    },
    /// A tensor lies beyond the end: the file was cut short.
    #[error(
        "is cut short: tensor `{tensor}` ends at byte {end} of the data, but the file has {len}: copy it again from where it came"
    )]
    BeyondEnd {
        /// The first tensor that is not whole.
        tensor: String,
        /// Where it ends.
        end: u64,
        /// How many bytes of data there are.
        len: u64,
    },
    /// Not an adapter of low rank.
    #[error("has peft_type `{found}`; only LORA is accepted")]
    NotLora {
        /// What it says.
        found: String,
    },
    /// A value of the configuration that makes no sense.
    #[error("field `{field}` is {found}; accepted: {accepted}")]
    Config {
        /// The field.
        field: &'static str,
        /// What was found.
        found: String,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A tensor of a module that the configuration does not name.
    #[error(
        "tensor `{tensor}` belongs to no module of target_modules ({targets}): use the adapter_config.json it was saved with"
    )]
    NotInTargets {
        /// The tensor.
        tensor: String,
        /// What the configuration names.
        targets: String,
    },
    /// A module of the configuration without tensors.
    #[error("holds no tensor for target module `{target}`: use the adapter_config.json it was saved with")]
    TargetWithoutTensor {
        /// The module.
        target: String,
    },
    /// One half of a pair.
    #[error("tensor `{tensor}` has no counterpart `{counterpart}`: export the adapter again")]
    Unpaired {
        /// The tensor.
        tensor: String,
        /// What should be there too.
        counterpart: String,
    },
    /// A shape that is no matrix.
    #[error("tensor `{tensor}` has shape {shape:?}, which is no matrix: export the adapter again")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
    },
    /// The rank in the tensors is not that of the configuration.
    #[error(
        "tensor `{tensor}` of shape {shape:?} has rank {found}, but adapter_config.json says {wanted}: use the configuration it was saved with"
    )]
    Rank {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
        /// The rank in the shape.
        found: u64,
        /// The rank in the configuration.
        wanted: u64,
    },
    /// A weight that is not a number, or endless.
    #[error("tensor `{tensor}` has {value} at position {index}: training went wrong, such an adapter cannot be used")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Which number of it.
        index: u64,
        /// `NaN` or `infinity`.
        value: &'static str,
    },
}
