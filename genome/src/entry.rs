//! What names and describes an entry of the catalog: its ids, its kind, its vectors. docs/protocol/mesh.md, Card.

use core::fmt;

use half::f16;
use wend_packet::hash_newtype;

/// Components of a vector.
pub const DIMS: usize = 384;

hash_newtype!(
    /// One version of an entry: first 16 bytes of BLAKE3 over its whole card, signature included.
    EntryId, 16
);
hash_newtype!(
    /// BLAKE3-256 over the encoded bytes of a manifest.
    ManifestHash, 32
);

/// What an entry is. Values without a name here travel on unchanged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// A low-rank adapter for a base model.
    pub const LORA: Self = Self(0);
    /// A character: instructions, perhaps an adapter.
    pub const PERSONA: Self = Self(1);
    /// Data to train or test with.
    pub const DATASET: Self = Self(2);
    /// Something a node does for others.
    pub const SERVICE: Self = Self(3);
    /// A model that turns text into vectors.
    pub const EMBEDDER: Self = Self(4);
    /// The withdrawal of an entry.
    pub const TOMBSTONE: Self = Self(5);

    const NAMES: [&'static str; 6] = ["lora", "persona", "dataset", "service", "embedder", "tombstone"];

    /// The kinds that can be published, as people write them.
    pub const PUBLISHABLE: [&'static str; 5] = ["lora", "persona", "dataset", "service", "embedder"];

    /// The name, when the value has one.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.get(usize::from(self.0)).copied()
    }

    /// The kind that people write like this.
    pub fn from_name(name: &str) -> Option<Self> {
        let index = Self::NAMES.iter().position(|known| *known == name)?;
        u8::try_from(index).ok().map(Self)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "kind {}", self.0),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An embedding space: which weights made a vector. First 4 bytes of the SHA-256 of the upstream weights; vectors of
/// different spaces are never compared. docs/embedding.md.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceId(pub [u8; 4]);

impl SpaceId {
    /// No space: what a card without a vector carries.
    pub const NONE: Self = Self([0; 4]);
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The sign bits of a vector, most significant bit first; a bit is set where the component is above zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sketch(pub [u8; DIMS / 8]);

impl Sketch {
    /// Length in bytes.
    pub const LEN: usize = DIMS / 8;

    /// The sketch of a vector without a set bit: what a card without a vector carries.
    pub const EMPTY: Self = Self([0; Self::LEN]);

    /// The signs of `vector`.
    pub fn from_f32(vector: &[f32; DIMS]) -> Self {
        Self::from_signs(|index| vector.get(index).is_some_and(|component| *component > 0.0))
    }

    fn from_signs(positive: impl Fn(usize) -> bool) -> Self {
        let mut bytes = [0; Self::LEN];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = (0..8).fold(0, |bits, bit| bits << 1 | u8::from(positive(index * 8 + bit)));
        }
        Self(bytes)
    }

    /// Whether component `index` (below 384) is above zero.
    pub fn is_positive(&self, index: usize) -> bool {
        self.0.get(index / 8).is_some_and(|byte| byte >> (7 - index % 8) & 1 == 1)
    }
}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A vector as it is stored and sent: 8-bit components with one scale. 386 bytes.
#[derive(Clone, Copy, PartialEq)]
pub struct QuantisedVector {
    /// What a component of 1 stands for; finite and not negative.
    pub scale: f16,
    /// The components, -127 to 127.
    pub values: [i8; DIMS],
}

impl QuantisedVector {
    /// Encoded length: the scale (big-endian), then the components.
    pub const LEN: usize = 2 + DIMS;

    /// Quantises `vector`; components that are not finite count as zero.
    pub fn from_f32(vector: &[f32; DIMS]) -> Self {
        let finite = |component: f32| if component.is_finite() { component } else { 0.0 };
        let largest = vector.iter().map(|component| finite(*component).abs()).fold(0.0, f32::max);
        // Divided by the scale that is sent, not by the exact one, so that the receiver's product is nearest.
        let scale = f16::from_f32((largest / 127.0).min(f16::MAX.to_f32()));
        let scale = if largest > 0.0 && scale == f16::ZERO { f16::MIN_POSITIVE_SUBNORMAL } else { scale };
        let mut values = [0; DIMS];
        if largest > 0.0 {
            for (value, component) in values.iter_mut().zip(vector) {
                let rounded = (finite(*component) / scale.to_f32()).round().clamp(-127.0, 127.0);
                #[expect(clippy::cast_possible_truncation, reason = "clamped to the range of i8 just above")]
                let rounded = rounded as i8;
                *value = rounded;
            }
        }
        Self { scale, values }
    }

    /// The vector it stands for.
    pub fn to_f32(&self) -> [f32; DIMS] {
        let scale = self.scale.to_f32();
        self.values.map(|value| f32::from(value) * scale)
    }

    /// Its sign bits.
    pub fn sketch(&self) -> Sketch {
        Sketch::from_signs(|index| self.values.get(index).is_some_and(|value| *value > 0))
    }

    /// The encoded form.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let encoded = self.scale.to_be_bytes().into_iter().chain(self.values.iter().map(|value| value.cast_unsigned()));
        bytes.iter_mut().zip(encoded).for_each(|(to, from)| *to = from);
        bytes
    }

    /// Reads the encoded form; `None` when the length differs or the scale is negative or not finite.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let (scale, components) = bytes.split_first_chunk::<2>()?;
        let scale = f16::from_be_bytes(*scale);
        if !scale.is_finite() || scale.is_sign_negative() {
            return None;
        }
        let mut values = [0; DIMS];
        values.iter_mut().zip(components).for_each(|(to, from)| *to = from.cast_signed());
        Some(Self { scale, values })
    }
}

impl fmt::Debug for QuantisedVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuantisedVector(scale {}, {:?})", self.scale, self.sketch())
    }
}

#[cfg(test)]
mod tests {
    use wend_packet::hash::InvalidHash;

    use super::*;

    fn wave() -> [f32; DIMS] {
        core::array::from_fn(|index| (index as f32 * 0.7).sin() / 14.0)
    }

    #[test]
    fn a_quantised_vector_stays_within_half_a_step() {
        let vector = wave();
        let quantised = QuantisedVector::from_f32(&vector);
        let step = quantised.scale.to_f32();
        for (before, after) in vector.iter().zip(quantised.to_f32()) {
            assert!((before - after).abs() <= step * 0.52 + 1e-6, "{before} {after} {step}");
        }
        assert_eq!(QuantisedVector::from_bytes(&quantised.to_bytes()), Some(quantised));
    }

    #[test]
    fn odd_vectors_are_quantised_without_nonsense() {
        let zero = QuantisedVector::from_f32(&[0.0; DIMS]);
        assert_eq!((zero.scale, zero.values), (f16::ZERO, [0; DIMS]));
        let mut odd = [1e-9; DIMS];
        odd[0] = f32::NAN;
        odd[1] = f32::INFINITY;
        let quantised = QuantisedVector::from_f32(&odd);
        assert!(quantised.to_f32().iter().all(|component| component.is_finite()));
        let huge = QuantisedVector::from_f32(&[f32::MAX; DIMS]);
        assert!(huge.scale.is_finite());
        assert_eq!(QuantisedVector::from_bytes(&[0xff; QuantisedVector::LEN]), None);
    }

    #[test]
    fn a_sketch_has_the_first_component_in_the_highest_bit() {
        let mut vector = [-1.0; DIMS];
        vector[0] = 1.0;
        vector[15] = 1.0;
        let sketch = Sketch::from_f32(&vector);
        assert_eq!(&sketch.0[..3], &[0x80, 0x01, 0]);
        assert_eq!(QuantisedVector::from_f32(&vector).sketch(), sketch);
        assert!(sketch.is_positive(0) && sketch.is_positive(15) && !sketch.is_positive(1) && !sketch.is_positive(384));
    }

    #[test]
    fn kinds_have_names_and_unknown_ones_survive() {
        for name in Kind::PUBLISHABLE {
            assert_eq!(Kind::from_name(name).and_then(Kind::name), Some(name));
        }
        assert_eq!(Kind(77).to_string(), "kind 77");
        assert_eq!(Kind::from_name("adapter"), None);
    }

    #[test]
    fn ids_are_hex_in_text_and_bytes_elsewhere() {
        let id = EntryId::new(*b"0123456789abcdef");
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(text, "\"30313233343536373839616263646566\"");
        assert_eq!(serde_json::from_str::<EntryId>(&text).unwrap(), id);
        assert_eq!("30".parse::<EntryId>(), Err(InvalidHash { digits: 32 }));
    }
}
