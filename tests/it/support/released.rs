//! The statements of the release before this one, which must go on working on this one's schema: instances of both run
//! beside each other during an upgrade, and the older again after a step back.
//!
//! `scripts/record-statements.sh` writes them when a release is made.

use std::{env, fs::OpenOptions, io::Write as _, path::Path};

/// Appends a statement to `TEST_RECORD_STATEMENTS`, where that names a folder.
pub fn note(database: &str, sql: &str) {
    let Some(folder) = env::var_os("TEST_RECORD_STATEMENTS").filter(|folder| !folder.is_empty()) else { return };
    let file = OpenOptions::new().create(true).append(true).open(Path::new(&folder).join(database));
    let line = format!("{}\n", sql.replace('\n', " "));
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the statement is written");
}

/// One for each set of names, on `sqlite` or on `postgres`.
pub fn statements(database: &str) -> Vec<&'static str> {
    let all = match database {
        "sqlite" => include_str!("../released/sqlite.sql"),
        _ => include_str!("../released/postgres.sql"),
    };
    all.lines().collect()
}
