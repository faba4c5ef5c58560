//! Search by meaning: the stored vectors of one embedding space in columns, and the exact scan over them.
//! docs/embedding.md.

use std::collections::BTreeMap;
use std::f32::consts::{FRAC_PI_2, PI};

use super::words::Slot;
use crate::entry::{DIMS, QuantisedVector, Sketch};

/// The most that is kept of one entry's vectors: the int8 form with its scale, and the sketch.
pub const VECTOR_BYTES_MAX: usize = 434;

const _: () = assert!(QuantisedVector::LEN + Sketch::LEN == VECTOR_BYTES_MAX);
const _: () = assert!(size_of::<Row>() <= VECTOR_BYTES_MAX && size_of::<Sketch>() <= VECTOR_BYTES_MAX);

/// A vector of an entry, in the form it is known in.
#[derive(Debug, Clone, Copy)]
pub enum Vector<'a> {
    /// From the manifest.
    Quantised(&'a QuantisedVector),
    /// From the card.
    Sketch(&'a Sketch),
}

/// The vector of a query, in the form it is known in. Its length does not matter, only its direction.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "made once per query and never stored")]
pub enum QueryVector {
    /// Embedded here.
    Exact([f32; DIMS]),
    /// From a peer that had the room to send it.
    Quantised(QuantisedVector),
    /// From a peer over a slow link.
    Sketch(Sketch),
}

impl QueryVector {
    /// Its sign bits, as they go to a peer over a slow link and into the index.
    pub fn sketch(&self) -> Sketch {
        match self {
            Self::Exact(vector) => Sketch::from_f32(vector),
            Self::Quantised(vector) => vector.sketch(),
            Self::Sketch(sketch) => *sketch,
        }
    }
}

/// The int8 components of an entry. The scale a manifest states is not kept: scores are cosines, and a publisher must
/// not be able to raise them by stating a large scale.
#[derive(Debug)]
struct Row {
    values: [i8; DIMS],
    /// 1 / length of `values`; zero for a vector without direction.
    inverse_length: f32,
}

impl Row {
    fn new(values: [i8; DIMS]) -> Self {
        Self { values, inverse_length: inverse_length(dot(&values, &values)) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most 384 x 128 x 128, below 2^24")]
fn inverse_length(square: i32) -> f32 {
    if square > 0 { 1.0 / (square as f32).sqrt() } else { 0.0 }
}

/// Sum of products. Each product fits 16 bits, which lets the compiler use multiply-and-add instructions.
fn dot(one: &[i8; DIMS], other: &[i8; DIMS]) -> i32 {
    one.iter().zip(other).map(|(one, other)| i32::from(i16::from(*one) * i16::from(*other))).sum()
}

/// What a sketch keeps of a vector: the cosine between a random vector and its own signs is the root of 2/pi. Products
/// with a sketch are divided by it, so that cards and manifests can be ranked in one list.
fn sketch_loss() -> f32 {
    FRAC_PI_2.sqrt().recip()
}

/// A query made ready for many comparisons.
pub(super) struct Probe {
    row: Row,
    /// What a product with `row` is multiplied by to become a cosine.
    row_factor: f32,
    against_sketches: AgainstSketches,
}

enum AgainstSketches {
    /// For each byte of a sketch and each of its values, the sum of the query's components with those signs.
    Sums(Box<[[f32; 256]; Sketch::LEN]>),
    /// The query is a sketch itself: count the bits that differ.
    Bits(Sketch),
}

impl Probe {
    /// `None` when the vector has no direction: all zero or not finite.
    pub(super) fn new(vector: &QueryVector) -> Option<Self> {
        let probe = match vector {
            QueryVector::Exact(exact) => {
                let square: f32 = exact.iter().map(|component| component * component).sum();
                if !square.is_finite() || square < f32::MIN_POSITIVE {
                    return None;
                }
                let unit = exact.map(|component| component / square.sqrt());
                Self::from_unit(Row::new(QuantisedVector::from_f32(&unit).values), &unit)
            }
            QueryVector::Quantised(quantised) => {
                let row = Row::new(quantised.values);
                let unit = row.values.map(|value| f32::from(value) * row.inverse_length);
                Self::from_unit(row, &unit)
            }
            QueryVector::Sketch(sketch) => {
                let signs = core::array::from_fn(|index| if sketch.is_positive(index) { 1 } else { -1 });
                let row = Row::new(signs);
                let row_factor = row.inverse_length / sketch_loss();
                Self { row, row_factor, against_sketches: AgainstSketches::Bits(*sketch) }
            }
        };
        (probe.row.inverse_length > 0.0).then_some(probe)
    }

    fn from_unit(row: Row, unit: &[f32; DIMS]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "384")]
        let factor = 1.0 / ((DIMS as f32).sqrt() * sketch_loss());
        let mut sums = Box::new([[0.0; 256]; Sketch::LEN]);
        let (components, _) = unit.as_chunks::<8>();
        for (table, components) in sums.iter_mut().zip(components) {
            for (bits, sum) in table.iter_mut().enumerate() {
                let signed =
                    |(at, component): (usize, &f32)| if bits >> (7 - at) & 1 == 1 { *component } else { -component };
                *sum = components.iter().enumerate().map(signed).sum::<f32>() * factor;
            }
        }
        let row_factor = row.inverse_length;
        Self { row, row_factor, against_sketches: AgainstSketches::Sums(sums) }
    }

    #[expect(clippy::cast_precision_loss, reason = "at most 384 x 128 x 128, below 2^24")]
    fn row(&self, row: &Row) -> f32 {
        dot(&self.row.values, &row.values) as f32 * self.row_factor * row.inverse_length
    }

    #[expect(clippy::cast_precision_loss, reason = "at most 384")]
    fn sketch(&self, sketch: &Sketch) -> f32 {
        match &self.against_sketches {
            AgainstSketches::Sums(sums) => {
                let pick = |(sums, byte): (&[f32; 256], &u8)| sums.get(usize::from(*byte)).copied().unwrap_or(0.0);
                sums.iter().zip(&sketch.0).map(pick).sum()
            }
            AgainstSketches::Bits(bits) => {
                let differ: u32 = bits.0.iter().zip(&sketch.0).map(|(one, other)| (one ^ other).count_ones()).sum();
                (PI * differ as f32 / DIMS as f32).cos()
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Row(usize),
    Sketch(usize),
}

/// The vectors of one space.
#[derive(Debug, Default)]
pub(super) struct Columns {
    places: BTreeMap<Slot, Place>,
    rows: Vec<Row>,
    row_slots: Vec<Slot>,
    sketches: Vec<Sketch>,
    sketch_slots: Vec<Slot>,
}

impl Columns {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether the int8 form of this entry is here, not only its sketch.
    pub(super) fn is_quantised(&self, slot: Slot) -> bool {
        matches!(self.places.get(&slot), Some(Place::Row(_)))
    }

    pub(super) fn insert(&mut self, slot: Slot, vector: Vector<'_>) {
        self.remove(slot);
        let place = match vector {
            Vector::Quantised(quantised) => {
                self.rows.push(Row::new(quantised.values));
                self.row_slots.push(slot);
                Place::Row(self.rows.len() - 1)
            }
            Vector::Sketch(sketch) => {
                self.sketches.push(*sketch);
                self.sketch_slots.push(slot);
                Place::Sketch(self.sketches.len() - 1)
            }
        };
        self.places.insert(slot, place);
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        // The last one moves into the gap.
        match self.places.remove(&slot) {
            None => {}
            Some(Place::Row(at)) => {
                self.rows.swap_remove(at);
                self.row_slots.swap_remove(at);
                if let Some(moved) = self.row_slots.get(at) {
                    self.places.insert(*moved, Place::Row(at));
                }
            }
            Some(Place::Sketch(at)) => {
                self.sketches.swap_remove(at);
                self.sketch_slots.swap_remove(at);
                if let Some(moved) = self.sketch_slots.get(at) {
                    self.places.insert(*moved, Place::Sketch(at));
                }
            }
        }
    }

    /// Cosine of one entry to the query.
    pub(super) fn score(&self, slot: Slot, probe: &Probe) -> Option<f32> {
        match self.places.get(&slot)? {
            Place::Row(at) => self.rows.get(*at).map(|row| probe.row(row)),
            Place::Sketch(at) => self.sketches.get(*at).map(|sketch| probe.sketch(sketch)),
        }
    }

    /// Cosines of all entries that `admit` lets through.
    pub(super) fn scan<'a>(
        &'a self,
        probe: &'a Probe,
        admit: impl Fn(Slot) -> bool + Copy + 'a,
    ) -> impl Iterator<Item = (Slot, f32)> + 'a {
        let rows = self.row_slots.iter().zip(&self.rows);
        let rows = rows.filter(move |(slot, _)| admit(**slot)).map(|(slot, row)| (*slot, probe.row(row)));
        let sketches = self.sketch_slots.iter().zip(&self.sketches);
        let sketches =
            sketches.filter(move |(slot, _)| admit(**slot)).map(|(slot, sketch)| (*slot, probe.sketch(sketch)));
        rows.chain(sketches)
    }

    /// The sign bits of every entry, for the index.
    pub(super) fn sketches(&self) -> impl Iterator<Item = (Slot, Sketch)> + '_ {
        let rows = self.row_slots.iter().zip(&self.rows);
        let rows = rows.map(|(slot, row)| {
            let signs = QuantisedVector { scale: half::f16::ONE, values: row.values };
            (*slot, signs.sketch())
        });
        rows.chain(self.sketch_slots.iter().copied().zip(self.sketches.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::ChaCha8Rng;
    use chacha20::rand_core::SeedableRng;
    use rand_core::Rng;

    fn random(rng: &mut ChaCha8Rng) -> [f32; DIMS] {
        // The sum of four uniform values is near enough to a normal distribution.
        core::array::from_fn(|_| (0..4).map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.5).sum())
    }

    fn near(base: &[f32; DIMS], noise: f32, rng: &mut ChaCha8Rng) -> [f32; DIMS] {
        let other = random(rng);
        core::array::from_fn(|index| base[index] + noise * other[index])
    }

    fn cosine(one: &[f32; DIMS], other: &[f32; DIMS]) -> f32 {
        let dot = |a: &[f32; DIMS], b: &[f32; DIMS]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
    }

    #[test]
    fn every_pair_of_forms_estimates_the_same_cosine() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for noise in [0.3, 1.0, 3.0] {
            let entry = random(&mut rng);
            let query = near(&entry, noise, &mut rng);
            let exact = cosine(&entry, &query);
            let (quantised, sketch) = (QuantisedVector::from_f32(&entry), Sketch::from_f32(&entry));
            let mut columns = Columns::default();
            columns.insert(0, Vector::Quantised(&quantised));
            columns.insert(1, Vector::Sketch(&sketch));
            for (query, tolerances) in [
                (QueryVector::Exact(query), [0.01, 0.12]),
                (QueryVector::Quantised(QuantisedVector::from_f32(&query)), [0.01, 0.12]),
                (QueryVector::Sketch(Sketch::from_f32(&query)), [0.12, 0.2]),
            ] {
                let probe = Probe::new(&query).unwrap();
                for (slot, tolerance) in tolerances.into_iter().enumerate() {
                    let estimate = columns.score(slot as Slot, &probe).unwrap();
                    assert!((estimate - exact).abs() < tolerance, "noise {noise} form {slot}: {estimate} for {exact}");
                }
            }
        }
    }

    #[test]
    fn a_scale_from_a_stranger_changes_no_rank() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let query = random(&mut rng);
        let honest = QuantisedVector::from_f32(&near(&query, 0.5, &mut rng));
        let boastful = QuantisedVector { scale: half::f16::MAX, ..QuantisedVector::from_f32(&random(&mut rng)) };
        let loud = QuantisedVector { scale: half::f16::NAN, values: [i8::MIN; DIMS] };
        let mut columns = Columns::default();
        for (slot, vector) in [honest, boastful, loud].iter().enumerate() {
            columns.insert(slot as Slot, Vector::Quantised(vector));
        }
        let probe = Probe::new(&QueryVector::Exact(query)).unwrap();
        let scores: Vec<_> = columns.scan(&probe, |_| true).map(|(_, score)| score).collect();
        assert!(scores[0] > 0.8 && scores[1].abs() < 0.3 && scores[2].abs() < 0.3, "{scores:?}");
    }

    #[test]
    fn a_vector_without_direction_is_no_query_and_no_match() {
        let nothing = QuantisedVector { scale: half::f16::ONE, values: [0; DIMS] };
        for query in
            [QueryVector::Exact([0.0; DIMS]), QueryVector::Exact([f32::NAN; DIMS]), QueryVector::Quantised(nothing)]
        {
            assert!(Probe::new(&query).is_none());
        }
        let mut columns = Columns::default();
        columns.insert(0, Vector::Quantised(&nothing));
        let probe = Probe::new(&QueryVector::Exact([1.0; DIMS])).unwrap();
        assert_eq!(columns.score(0, &probe), Some(0.0));
    }

    #[test]
    fn removal_leaves_the_others_where_they_can_be_found() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let vectors: Vec<_> = (0..50).map(|_| random(&mut rng)).collect();
        let mut columns = Columns::default();
        for (slot, vector) in vectors.iter().enumerate() {
            let (quantised, sketch) = (QuantisedVector::from_f32(vector), Sketch::from_f32(vector));
            let form = if slot % 2 == 0 { Vector::Quantised(&quantised) } else { Vector::Sketch(&sketch) };
            columns.insert(slot as Slot, form);
        }
        for slot in (0..50).filter(|slot| slot % 3 == 0) {
            columns.remove(slot);
            columns.remove(slot);
        }
        for (slot, vector) in vectors.iter().enumerate() {
            let probe = Probe::new(&QueryVector::Exact(*vector)).unwrap();
            let best = columns.scan(&probe, |_| true).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            assert_eq!(best.0 == slot as Slot, slot % 3 != 0);
            assert_eq!(columns.score(slot as Slot, &probe).is_some(), slot % 3 != 0);
        }
        assert_eq!(columns.len(), 33);
    }

    #[test]
    fn a_manifest_replaces_the_sketch_of_its_card() {
        let mut rng = ChaCha8Rng::seed_from_u64(10);
        let vector = random(&mut rng);
        let mut columns = Columns::default();
        columns.insert(4, Vector::Sketch(&Sketch::from_f32(&vector)));
        assert!(!columns.is_quantised(4));
        let quantised = QuantisedVector::from_f32(&vector);
        columns.insert(4, Vector::Quantised(&quantised));
        assert!(columns.is_quantised(4));
        assert_eq!((columns.len(), columns.sketches.len()), (1, 0));
        assert_eq!(columns.sketches().next(), Some((4, quantised.sketch())));
    }
}
