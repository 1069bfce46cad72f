//! The tables. A file with other tables than these is made anew, never converted.

/// The tables of all subjects, each in its file.
const TABLES: [&str; 4] = [
    include_str!("schema/files.sql"),
    include_str!("schema/graph.sql"),
    include_str!("schema/history.sql"),
    include_str!("schema/manifest.sql"),
];

/// Counted up when what is stored changes its meaning and the tables do not.
const REVISION: u8 = 1;

/// The statements that make all tables.
pub(crate) fn statements() -> String {
    TABLES.concat()
}

/// A number that differs when the tables do. Above 0, which is that of an empty file.
pub(crate) fn version() -> i32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(statements().as_bytes());
    hash.update(&[REVISION, crate::facts::REVISION]);
    (hash.finalize() >> 1).max(1) as i32
}
