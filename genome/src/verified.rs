//! Proof, in the type, that a signature was checked.

/// A value whose signature was checked against its publisher's key. Only [`Card::verify`](crate::card::Card::verify) and
/// [`SignedManifest::verify`](crate::manifest::SignedManifest::verify) make one, and whoever signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Called where the check stands, nowhere else.
    pub(crate) fn vouched(value: T) -> Self {
        Self(value)
    }

    /// The value, without the proof.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> core::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
