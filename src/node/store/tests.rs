//! What is there after a restart.

use super::*;

fn open(folder: &tempfile::TempDir) -> Result<(Store, Stored), StoreError> {
    Store::open(&folder.path().join("state.redb"))
}

fn path(byte: u8, heard: u64) -> PathRecord {
    PathRecord::heard(DestinationHash::new([byte; 16]), [byte; 40], UnixTime(heard))
}

fn change(record: &PathRecord) -> Change {
    let PathRecord { destination, announce, heard, standing } = record.clone();
    Change::Path(destination, Some(KeptPath { announce, heard, standing }))
}

fn tunnel_path(byte: u8) -> TunnelRecord {
    TunnelRecord {
        tunnel: TunnelId::new([byte; 32]),
        destination: DestinationHash::new([byte; 16]),
        next_hop: IdentityHash::new([7; 16]),
        hops: 3,
        expires: UnixTime(11),
        newest: wend_packet::announce::RandomHash::from_bytes([byte; 10]),
        ends: UnixTime(12),
        announce: vec![byte; 50],
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (store, stored) = open(&folder).expect("created");
    assert!(stored.cards.is_empty());
    let by = Some(IdentityHash::new([6; 16]));
    let shut_out = ShutOut { by, until: Some(UnixTime(9)), reason: Some("why".to_owned()) };
    let kept = RatchetFile::new(Zeroizing::new(vec![8; 40]));
    let used = PathRecord { standing: Standing::Used, ..path(3, 7) };
    let changes = vec![
        Change::Card([1; 16], vec![9; 200]),
        Change::Manifest([2; 32], vec![8; 300]),
        change(&used),
        change(&path(4, 8)),
        Change::Path(DestinationHash::new([4; 16]), None),
        Change::Number(Number::LastAnnounce, 1_700_000_000),
        Change::Blackhole(IdentityHash::new([4; 16]), shut_out.clone()),
        Change::Blackhole(IdentityHash::new([5; 16]), shut_out.clone()),
        Change::NoBlackhole(IdentityHash::new([5; 16])),
        Change::Ratchets(DestinationHash::new([7; 16]), kept.clone()),
        Change::TunnelPath(tunnel_path(1)),
        Change::NoTunnelPaths,
        Change::TunnelPath(tunnel_path(2)),
        Change::TunnelPath(tunnel_path(3)),
        Change::NoTunnelPath(TunnelId::new([3; 32]), DestinationHash::new([3; 16])),
    ];
    store.commit(changes).await.expect("durable");
    drop(store);
    // The writer thread closes the database a moment after the last handle is gone.
    let (store, stored) = loop {
        match open(&folder) {
            Err(StoreError::InUse { .. }) => std::thread::yield_now(),
            other => break other.expect("reopened"),
        }
    };
    assert_eq!(stored.cards, [([1; 16], vec![9; 200])]);
    assert_eq!(stored.paths, [used]);
    assert_eq!(stored.last_announce, 1_700_000_000);
    assert_eq!(stored.ratchets, [(DestinationHash::new([7; 16]), kept)].into());
    assert_eq!(stored.tunnel_paths, [tunnel_path(2)]);
    assert_eq!(stored.blackhole, [(IdentityHash::new([4; 16]), shut_out)]);
    assert_eq!(store.manifest(&[2; 32]).expect("readable"), Some(vec![8; 300]));
    assert_eq!(store.manifest(&[3; 32]).expect("readable"), None);
}

#[tokio::test]
async fn a_second_node_cannot_open_the_same_state() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let _first = open(&folder).expect("created");
    assert!(matches!(open(&folder), Err(StoreError::InUse { .. })));
}

#[test]
fn paths_that_an_earlier_version_kept_are_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("paths");
    let database = Database::create(&file).expect("created");
    let write = database.begin_write().expect("begun");
    let before = postcard::to_stdvec(&(7_u64, &[3_u8; 40][..])).expect("packed");
    write.open_table(PATHS).expect("opened").insert(&[3; 16], before.as_slice()).expect("inserted");
    let read = read_paths(&write.open_table(PATHS).expect("opened"), &file).expect("read");
    assert_eq!(read, [path(3, 7)]);
}

#[test]
fn a_table_that_is_missing_is_made_but_not_in_a_file_of_a_later_layout() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.redb");
    let database = Database::create(&path).expect("created");
    let write = database.begin_write().expect("writable");
    write.open_table(NUMBERS).expect("made").insert(Number::Schema.key(), SCHEMA).expect("inserted");
    write.commit().expect("durable");
    assert!(prepare(&database, &path).is_ok_and(|stored| stored.paths.is_empty()));
    let tables =
        |database: &Database| database.begin_read().expect("readable").list_tables().expect("readable").count();
    assert_eq!(tables(&database), 8);

    let write = database.begin_write().expect("writable");
    write.open_table(NUMBERS).expect("there").insert(Number::Schema.key(), SCHEMA + 1).expect("inserted");
    write.delete_table(RATCHETS).expect("deleted");
    write.commit().expect("durable");
    assert!(matches!(prepare(&database, &path), Err(Problem::Newer(found)) if found == SCHEMA + 1));
    assert_eq!(tables(&database), 7);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_an_error_and_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("state.redb");
    std::fs::write(&file, vec![7; 5000]).expect("written");
    assert!(matches!(open(&folder), Err(StoreError::Open { .. })));
    assert_eq!(std::fs::read(&file).expect("readable"), vec![7; 5000]);
}
