//! What a node says about itself in its announce: docs/protocol/mesh.md, "Announce app data".

use crate::msgpack::{Head, Limits, Malformed, Scanner};
use crate::octets::CatalogRoot;
use crate::value;

/// Longest announce app data of a Wend node, in bytes.
pub const MAX_LEN: usize = 120;

/// Longest name of a node, in bytes.
pub const MAX_NAME: usize = 20;

/// Most services a node names.
pub const MAX_SERVICES: usize = 6;

const VERSION: u64 = 1;

/// A set of roles. Bits that are not known here survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(pub u8);

impl Roles {
    /// Relays for others.
    pub const TRANSPORT: Self = Self(1);
    /// Keeps messages for others.
    pub const PROPAGATION: Self = Self(2);
    /// Runs models for others.
    pub const PROVIDER: Self = Self(4);
    /// Turns text into vectors for others.
    pub const EMBEDDER: Self = Self(8);

    /// Whether all of `roles` are in this set.
    pub const fn contains(self, roles: Self) -> bool {
        self.0 & roles.0 == roles.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, roles: Self) -> Self {
        Self(self.0 | roles.0)
    }
}

/// What a node can do, in six bytes. The sizes are powers of two, rounded down: [`magnitude`] makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Processors: 0 for none or unknown, n for 2^(n-1) and more.
    pub processors: u8,
    /// Memory in GiB, likewise.
    pub memory_gib: u8,
    /// Accelerator memory in GiB, likewise.
    pub accelerator_gib: u8,
    /// Load, 0 idle to 15 full.
    pub load: u8,
    /// Where its power comes from.
    pub power: Power,
}

/// A node's power supply. A number that is not known here survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Power(pub u8);

impl Power {
    /// Mains.
    pub const MAINS: Self = Self(0);
    /// Battery.
    pub const BATTERY: Self = Self(1);
    /// Battery, nearly empty.
    pub const LOW: Self = Self(2);
}

/// 0 for 0, else n for 2^(n-1) up to the next power of two: 1 → 1, 2 → 2, 3 → 2, 4 → 3.
pub fn magnitude(number: u64) -> u8 {
    u8::try_from(u64::BITS - number.leading_zeros()).unwrap_or(u8::MAX)
}

/// The least number of this magnitude.
pub fn from_magnitude(magnitude: u8) -> u64 {
    match magnitude {
        0 => 0,
        n => 1_u64.checked_shl(u32::from(n - 1)).unwrap_or(u64::MAX),
    }
}

/// A service: the first 4 bytes of SHA-256 over its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceId(pub [u8; 4]);

impl ServiceId {
    /// The id of a service with this name.
    pub fn of(name: &str) -> Self {
        Self(wend_packet::hash::sha256_head(&[name.as_bytes()]))
    }
}

/// A catalog in short: equal roots mean equal catalogs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogSummary {
    /// Live entries; at most 2^24 - 1 can be said.
    pub count: u32,
    /// Fingerprint of the set.
    pub root: CatalogRoot,
}

/// The app data of a Wend node's announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceData {
    name: String,
    roles: Roles,
    capabilities: Capabilities,
    services: Vec<ServiceId>,
    catalog: Option<CatalogSummary>,
}

/// Why a node cannot announce this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAnnounceData {
    /// The name does not fit.
    #[error("the name `{name}` has {len} bytes, at most {MAX_NAME} fit into an announce", len = name.len())]
    NameTooLong {
        /// The name.
        name: String,
    },
    /// The name has control characters.
    #[error("the name has control characters")]
    NameNotText,
    /// Too many services.
    #[error("{count} services, at most {MAX_SERVICES} fit into an announce")]
    TooManyServices {
        /// How many.
        count: usize,
    },
}

impl AnnounceData {
    /// What a node of this name says. An empty name is no name.
    pub fn new(
        name: &str,
        roles: Roles,
        capabilities: Capabilities,
        services: Vec<ServiceId>,
        catalog: Option<CatalogSummary>,
    ) -> Result<Self, InvalidAnnounceData> {
        if name.len() > MAX_NAME {
            return Err(InvalidAnnounceData::NameTooLong { name: name.to_owned() });
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidAnnounceData::NameNotText);
        }
        if services.len() > MAX_SERVICES {
            return Err(InvalidAnnounceData::TooManyServices { count: services.len() });
        }
        let data = Self { name: name.to_owned(), roles, capabilities, services, catalog: None };
        Ok(data.with_catalog(catalog))
    }

    /// The name, without control characters, at most [`MAX_NAME`] bytes, possibly empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The roles.
    pub fn roles(&self) -> Roles {
        self.roles
    }

    /// The capabilities.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The services.
    pub fn services(&self) -> &[ServiceId] {
        &self.services
    }

    /// The catalog, when the node has one.
    pub fn catalog(&self) -> Option<CatalogSummary> {
        self.catalog
    }

    /// The same with this catalog.
    #[must_use]
    pub fn with_catalog(self, catalog: Option<CatalogSummary>) -> Self {
        let catalog = catalog.map(|summary| CatalogSummary { count: summary.count.min(0xff_ffff), ..summary });
        Self { catalog, ..self }
    }

    /// `[1, name, roles, capabilities, services, catalog or nil]`, at most [`MAX_LEN`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0x96, 0x01];
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        put(&value::encode(&self.name));
        put(&value::encode(&self.roles.0));
        let Capabilities { processors, memory_gib, accelerator_gib, load, power } = self.capabilities;
        put(&[0xc4, 6, processors, memory_gib, accelerator_gib, load, power.0, 0]);
        put(&[0x90 | u8::try_from(self.services.len()).unwrap_or(0)]);
        for service in &self.services {
            put(&[0xc4, 4]);
            put(&service.0);
        }
        match &self.catalog {
            None => put(&[0xc0]),
            Some(CatalogSummary { count, root }) => {
                let [_, count @ ..] = count.to_be_bytes();
                put(&[0xc4, 11]);
                put(&count);
                put(root.as_bytes());
            }
        }
        out
    }

    /// Reads announce app data; `None` when it is not that of a Wend node of this version: another program's, a later
    /// version, or nonsense. What follows it is ignored.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_LEN { None } else { Self::read(bytes).ok() }
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut scanner = Scanner::new(bytes, Limits { depth: 2, values: 16 });
        scanner.array_of(6, "six elements")?;
        if scanner.unsigned("a version")? != VERSION {
            return Err(Malformed::Expected("version 1"));
        }
        let name = scanner.str("a name")?;
        let roles = u8::try_from(scanner.unsigned("roles")?).map_err(|_| Malformed::Expected("roles of 8 bits"))?;
        let [processors, memory_gib, accelerator_gib, load, power, _] = scanner.bin::<6>("capabilities")?;
        let Head::Array(count) = scanner.head()? else { return Err(Malformed::Expected("services")) };
        let services = (0..count).map(|_| scanner.bin("a service").map(ServiceId)).collect::<Result<_, _>>()?;
        let catalog = match scanner.head()? {
            Head::Nil => None,
            Head::Bytes(bytes) => Some(catalog(bytes).ok_or(Malformed::Expected("a catalog of 11 bytes"))?),
            _ => return Err(Malformed::Expected("a catalog")),
        };
        let capabilities = Capabilities { processors, memory_gib, accelerator_gib, load, power: Power(power) };
        Self::new(name, Roles(roles), capabilities, services, catalog)
            .map_err(|_| Malformed::Expected("a short name of text and few services"))
    }
}

fn catalog(bytes: &[u8]) -> Option<CatalogSummary> {
    let ([a, b, c], root) = bytes.split_first_chunk::<3>()?;
    let root = <[u8; 8]>::try_from(root).ok()?;
    Some(CatalogSummary { count: u32::from_be_bytes([0, *a, *b, *c]), root: root.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn largest() -> AnnounceData {
        let capabilities =
            Capabilities { processors: 255, memory_gib: 255, accelerator_gib: 255, load: 255, power: Power(255) };
        let catalog = CatalogSummary { count: u32::MAX, root: CatalogRoot::new([0xff; 8]) };
        AnnounceData::new(&"n".repeat(20), Roles(255), capabilities, vec![ServiceId([255; 4]); 6], Some(catalog))
            .unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let catalog = CatalogSummary { count: 420, root: CatalogRoot::new(*b"rootroot") };
        let capabilities =
            Capabilities { processors: 3, memory_gib: 4, load: 2, power: Power::BATTERY, ..Default::default() };
        let roles = Roles::TRANSPORT.with(Roles::EMBEDDER);
        let data = AnnounceData::new("field", roles, capabilities, vec![ServiceId(*b"srvc")], Some(catalog)).unwrap();
        assert_eq!(
            data.encode(),
            b"\x96\x01\xa5field\x09\xc4\x06\x03\x04\x00\x02\x01\x00\x91\xc4\x04srvc\xc4\x0b\x00\x01\xa4rootroot"
        );
        assert_eq!(AnnounceData::decode(&data.encode()), Some(data));
    }

    #[test]
    fn the_largest_fits() {
        let bytes = largest().encode();
        assert!(bytes.len() <= MAX_LEN, "{}", bytes.len());
        assert_eq!(AnnounceData::decode(&bytes).unwrap().catalog().unwrap().count, 0xff_ffff);
    }

    #[test]
    fn what_other_programs_announce_is_none() {
        let too_long = [&largest().encode()[..], &[0; 60]].concat();
        let control = b"\x96\x01\xa2\x1b[\x00\xc4\x06\0\0\0\0\0\0\x90\xc0";
        let later = b"\x96\x02\xa2ab\x00\xc4\x06\0\0\0\0\0\0\x90\xc0";
        for foreign in [&b""[..], b"Peer name", b"\x92\xc4\x04name\xc0", &too_long, control, later] {
            assert_eq!(AnnounceData::decode(foreign), None, "{foreign:02x?}");
        }
    }

    #[test]
    fn a_name_that_does_not_fit_is_the_owners_mistake() {
        let new = |name| AnnounceData::new(name, Roles(0), Capabilities::default(), Vec::new(), None);
        let error = new("a name that is far too long").unwrap_err().to_string();
        assert_eq!(error, "the name `a name that is far too long` has 27 bytes, at most 20 fit into an announce");
        assert_eq!(new("a\nb"), Err(InvalidAnnounceData::NameNotText));
    }

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!([0, 1, 2, 3, 4, 64, u64::MAX].map(magnitude), [0, 1, 2, 2, 3, 7, 64]);
        assert_eq!([0, 1, 2, 3, 7, 64, 200].map(from_magnitude), [0, 1, 2, 4, 64, 1 << 63, u64::MAX]);
    }

    proptest! {
        #[test]
        fn what_is_announced_is_heard(
            name in "\\PC{0,5}",
            roles: u8,
            bytes: [u8; 5],
            services in proptest::collection::vec(any::<[u8; 4]>(), 0..=6),
            catalog in proptest::option::of((0_u32..0x100_0000, any::<[u8; 8]>())),
        ) {
            let [processors, memory_gib, accelerator_gib, load, power] = bytes;
            let capabilities = Capabilities { processors, memory_gib, accelerator_gib, load, power: Power(power) };
            let catalog = catalog.map(|(count, root)| CatalogSummary { count, root: root.into() });
            let services = services.into_iter().map(ServiceId).collect();
            let data = AnnounceData::new(&name, Roles(roles), capabilities, services, catalog).unwrap();
            let encoded = data.encode();
            prop_assert!(encoded.len() <= MAX_LEN);
            prop_assert_eq!(AnnounceData::decode(&encoded), Some(data));
        }

        #[test]
        fn any_bytes_are_heard_or_ignored(bytes in proptest::collection::vec(any::<u8>(), 0..150)) {
            let _ = AnnounceData::decode(&bytes);
        }
    }
}
