//! Looks for numbers that are none, while the data streams by.

use super::Fault;
use super::safetensors::{Dtype, Tensor};

/// Goes over the data of a file in pieces of any length, in order.
#[derive(Debug)]
pub struct Scan<'a> {
    tensors: core::slice::Iter<'a, Tensor>,
    tensor: Option<&'a Tensor>,
    at: u64,
    /// The beginning of a number whose end is in the next piece.
    carry: Vec<u8>,
}

impl<'a> Scan<'a> {
    /// Over `tensors` that lie one after the other, as [`read_header`](super::safetensors::read_header) gives them.
    pub fn new(tensors: &'a [Tensor]) -> Self {
        let mut tensors = tensors.iter();
        let tensor = tensors.next();
        Self { tensors, tensor, at: 0, carry: Vec::new() }
    }

    /// Looks at the next piece.
    ///
    /// # Errors
    /// [`Fault::NotFinite`] at the first NaN or infinity.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), Fault> {
        while let Some(tensor) = self.tensor {
            let left = tensor.end - self.at;
            if left == 0 {
                self.tensor = self.tensors.next();
                continue;
            }
            if piece.is_empty() {
                break;
            }
            let width = usize::try_from(tensor.dtype.width()).unwrap_or(4);
            if !self.carry.is_empty() {
                let (head, rest) = piece.split_at(piece.len().min(width - self.carry.len()));
                self.carry.extend_from_slice(head);
                (piece, self.at) = (rest, self.at + wide(head.len()));
                if self.carry.len() == width {
                    let number = core::mem::take(&mut self.carry);
                    look(tensor, self.at - wide(width), &number)?;
                }
                continue;
            }
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let whole = here - here % width;
            let (numbers, rest) = piece.split_at(whole);
            look(tensor, self.at, numbers)?;
            self.at += wide(whole);
            piece = rest;
            if whole < here {
                self.carry.extend_from_slice(piece);
                self.at += wide(piece.len());
                piece = &[];
            }
        }
        Ok(())
    }
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Looks at whole numbers of `tensor`, the first of which lies at `at`.
fn look(tensor: &Tensor, at: u64, numbers: &[u8]) -> Result<(), Fault> {
    // All exponent bits set is what makes a number infinite, or none.
    let odd = match tensor.dtype {
        Dtype::F16 => odd_half(numbers, 0x7c00),
        Dtype::Bf16 => odd_half(numbers, 0x7f80),
        Dtype::F32 => {
            let words = numbers.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
            first_odd(words.map(|word| (word & 0x7f80_0000 == 0x7f80_0000, word & 0x007f_ffff != 0)))
        }
    };
    let Some((index, nan)) = odd else { return Ok(()) };
    let index = (at - tensor.begin) / tensor.dtype.width() + wide(index);
    Err(Fault::NotFinite { tensor: tensor.name.clone(), index, value: if nan { "NaN" } else { "infinity" } })
}

fn odd_half(numbers: &[u8], exponent: u16) -> Option<(usize, bool)> {
    let words = numbers.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
    first_odd(words.map(|word| (word & exponent == exponent, word & !exponent & 0x7fff != 0)))
}

/// The first number that is odd, and whether it is a NaN.
fn first_odd(mut numbers: impl Iterator<Item = (bool, bool)>) -> Option<(usize, bool)> {
    let mut index = 0;
    numbers.find_map(|(odd, nan)| {
        let found = odd.then_some((index, nan));
        index += 1;
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tensors() -> Vec<Tensor> {
        let tensor = |name: &str, dtype: Dtype, count: u64, begin: u64| {
            let end = begin + count * dtype.width();
            Tensor { name: name.into(), dtype, shape: vec![count], begin, end }
        };
        vec![
            tensor("h", Dtype::F16, 5, 0),
            tensor("e", Dtype::F16, 0, 10),
            tensor("b", Dtype::Bf16, 3, 10),
            tensor("f", Dtype::F32, 4, 16),
        ]
    }

    fn data(f: [f32; 4], h: [f32; 5], b: [f32; 3]) -> Vec<u8> {
        let h = h.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes());
        let b = b.iter().flat_map(|value| half::bf16::from_f32(*value).to_le_bytes());
        h.chain(b).chain(f.iter().flat_map(|value| value.to_le_bytes())).collect()
    }

    fn scan(data: &[u8], piece: usize) -> Result<(), Fault> {
        let tensors = tensors();
        let mut scan = Scan::new(&tensors);
        data.chunks(piece).try_for_each(|piece| scan.feed(piece))
    }

    #[test]
    fn nan_and_infinity_are_found_wherever_the_pieces_break() {
        let not_finite = |tensor: &str, index, value| Err(Fault::NotFinite { tensor: tensor.into(), index, value });
        let large = [65_504.0, -1.0, 0.0, 1e-7, 2.0];
        for piece in 1..33 {
            assert_eq!(scan(&data([f32::MAX, -0.0, 1e-40, 3.0], large, [3e38, 0.0, -1.0]), piece), Ok(()));
            assert_eq!(scan(&data([0.0, 0.0, f32::NAN, 0.0], large, [0.0; 3]), piece), not_finite("f", 2, "NaN"));
            assert_eq!(
                scan(&data([0.0; 4], large, [0.0, 0.0, f32::NEG_INFINITY]), piece),
                not_finite("b", 2, "infinity")
            );
            assert_eq!(
                scan(&data([0.0; 4], [1.0, f32::INFINITY, 0.0, 0.0, 0.0], [0.0; 3]), piece),
                not_finite("h", 1, "infinity")
            );
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in proptest::collection::vec(any::<u8>(), 32), piece in 1_usize..40) {
            prop_assert_eq!(scan(&bytes, piece), scan(&bytes, 32));
        }
    }
}
