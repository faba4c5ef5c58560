//! The path table and the announce rate table, as a node tells them to those who may manage it.
//! docs/protocol/1-core.md, section 5.7.

use super::InvalidManagementRequest;
use super::blackhole::seconds;
use crate::hash::{DestinationHash, IdentityHash};
use crate::msgpack::{Reader, Writer};
use crate::time::UnixTime;

/// Which table is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Paths.
    Paths,
    /// Announce rates.
    Rates,
}

/// What is asked with `/path`: an array of the table's name, the one destination that is meant, and the most hops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathTableRequest {
    /// Which table.
    pub table: Table,
    /// Only this destination.
    pub destination: Option<[u8; 16]>,
    /// Only paths of at most so many hops.
    pub hops_max: Option<u64>,
    /// Whether the destination given can be none at all, being of another length.
    nothing: bool,
}

impl PathTableRequest {
    /// Reads the data of a request.
    ///
    /// # Errors
    /// When it is not such an array, or names another table: such a request gets no answer.
    pub fn decode(data: &[u8]) -> Result<Self, InvalidManagementRequest> {
        let mut reader = Reader::new(data);
        let len = reader.array()?;
        if len == 0 {
            return Err(InvalidManagementRequest::Empty);
        }
        let table = match reader.str()? {
            "table" => Table::Paths,
            "rates" => Table::Rates,
            _ => return Err(InvalidManagementRequest::Unknown),
        };
        let asked = if len > 1 && !reader.nil() { Some(reader.bin()?) } else { None };
        let hops_max = if len > 2 && !reader.nil() { Some(reader.uint()?) } else { None };
        let destination: Option<[u8; 16]> = asked.and_then(|bytes| bytes.try_into().ok());
        Ok(Self { table, destination, hops_max, nothing: asked.is_some() && destination.is_none() })
    }

    /// Whether this path is asked for.
    pub fn admits(&self, destination: DestinationHash, hops: u8) -> bool {
        self.admits_destination(destination) && self.hops_max.is_none_or(|max| u64::from(hops) <= max)
    }

    /// Whether this destination is asked for.
    pub fn admits_destination(&self, destination: DestinationHash) -> bool {
        !self.nothing && self.destination.is_none_or(|asked| asked == *destination.as_bytes())
    }
}

/// A path, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRow {
    /// Where it leads.
    pub destination: DestinationHash,
    /// When it was learned or last used.
    pub used: UnixTime,
    /// The next hop; for a direct neighbour the bytes of the destination.
    pub via: IdentityHash,
    /// Distance.
    pub hops: u8,
    /// When it may be replaced by a longer one.
    pub expires: UnixTime,
    /// Name of the interface it leads over.
    pub interface: String,
}

/// How often a destination announces, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateRow {
    /// Whose announces.
    pub destination: DestinationHash,
    /// When the last one counted came.
    pub last: UnixTime,
    /// How often it came too early.
    pub violations: u64,
    /// Until when its announces are or were not passed on.
    pub blocked_until: Option<UnixTime>,
    /// When it announced itself, the last times, oldest first.
    pub times: Vec<UnixTime>,
}

/// The answer to `/path` for paths: an array of maps.
pub fn encode_paths(rows: &[PathRow]) -> Vec<u8> {
    let written = rows.iter().fold(Writer::new().array(rows.len()), |writer, row| {
        writer
            .map(6)
            .str("hash")
            .bin(row.destination.as_bytes())
            .str("timestamp")
            .float(seconds(row.used))
            .str("via")
            .bin(row.via.as_bytes())
            .str("hops")
            .uint(row.hops.into())
            .str("expires")
            .float(seconds(row.expires))
            .str("interface")
            .str(&row.interface)
    });
    written.into_bytes()
}

/// The answer to `/path` for announce rates: an array of maps.
pub fn encode_rates(rows: &[RateRow]) -> Vec<u8> {
    let written = rows.iter().fold(Writer::new().array(rows.len()), |writer, row| {
        let writer = writer
            .map(5)
            .str("hash")
            .bin(row.destination.as_bytes())
            .str("last")
            .float(seconds(row.last))
            .str("rate_violations")
            .uint(row.violations)
            .str("blocked_until");
        let writer = match row.blocked_until {
            Some(until) => writer.float(seconds(until)),
            None => writer.uint(0),
        };
        let writer = writer.str("timestamps").array(row.times.len());
        row.times.iter().fold(writer, |writer, time| writer.float(seconds(*time)))
    });
    written.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::{Invalid, check_single};

    const HERE: DestinationHash = DestinationHash::new([1; 16]);
    const THERE: DestinationHash = DestinationHash::new([2; 16]);

    fn request(write: impl FnOnce(Writer) -> Writer) -> Result<PathTableRequest, InvalidManagementRequest> {
        PathTableRequest::decode(&write(Writer::new()).into_bytes())
    }

    #[test]
    fn a_request_may_leave_filters_out() {
        for asked in [request(|w| w.array(1).str("table")), request(|w| w.array(3).str("table").nil().nil())] {
            let asked = asked.unwrap();
            assert_eq!(asked.table, Table::Paths);
            assert!(asked.admits(HERE, 200));
        }
    }

    #[test]
    fn filters_are_by_destination_and_by_hops() {
        let asked = request(|w| w.array(3).str("table").bin(HERE.as_bytes()).uint(2)).unwrap();
        assert!(asked.admits(HERE, 2) && !asked.admits(HERE, 3) && !asked.admits(THERE, 1));
        let asked = request(|w| w.array(2).str("rates").bin(b"abc")).unwrap();
        assert!(asked.table == Table::Rates && !asked.admits_destination(HERE));
    }

    #[test]
    fn answers_are_whole_values() {
        let path = PathRow {
            destination: HERE,
            used: UnixTime(1),
            via: IdentityHash::new([3; 16]),
            hops: 2,
            expires: UnixTime(9),
            interface: "radio".to_owned(),
        };
        check_single(&encode_paths(&[path.clone(), path])).unwrap();
        let times = vec![UnixTime(3), UnixTime(5)];
        let rate = |blocked_until| RateRow {
            destination: HERE,
            last: UnixTime(5),
            violations: 1,
            blocked_until,
            times: times.clone(),
        };
        check_single(&encode_rates(&[rate(None), rate(Some(UnixTime(7)))])).unwrap();
    }

    #[test]
    fn what_is_no_request_gets_no_answer() {
        assert_eq!(request(|w| w.array(0)), Err(InvalidManagementRequest::Empty));
        assert_eq!(request(|w| w.array(1).str("links")), Err(InvalidManagementRequest::Unknown));
        assert_eq!(request(Writer::nil), Err(Invalid::Type.into()));
        assert_eq!(request(|w| w.array(2).str("table")), Err(Invalid::Truncated.into()));
    }
}
