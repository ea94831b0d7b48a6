//! Folders, disks and limits of this machine.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::statvfs;

use super::finding::{Finding, bytes};
use crate::{base::config::Config, platform::connections};

/// Free on the disk; with less the server will soon be full.
const WARN_FREE: u64 = 1 << 30;
const FAIL_FREE: u64 = 64 << 20;

/// Files that a server needs for more than a few hundred clients.
const ENOUGH_FILES: u64 = 4096;

pub fn look_at(config: &Config) -> Vec<Finding> {
    let folder = &config.data_dir;
    let mut findings =
        vec![writable("data_folder", folder, "DATA_DIR"), writable("mail", &folder.join("mail"), "DATA_DIR")];
    findings.extend(free_space(folder));
    findings.extend(private(folder));
    if let Some(file) = sqlite_file(config) {
        findings.extend(database_file(&file));
    }
    findings.extend(documents(config));
    findings.push(files(config));
    findings
}

/// The file of an embedded database.
pub fn sqlite_file(config: &Config) -> Option<PathBuf> {
    let path = config.database.url.strip_prefix("sqlite://")?;
    Some(PathBuf::from(path.split('?').next().unwrap_or(path)))
}

/// Whether files can be made in a folder: one is made, and taken away.
fn writable(check: &'static str, folder: &Path, setting: &str) -> Finding {
    let advice = || format!("let the user of the server write there, or set {setting} to another folder");
    let shown = folder.display();
    if !folder.exists() {
        let parent = folder.ancestors().find(|above| above.exists() && !above.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        return match try_to_write(parent) {
            Ok(()) => Finding::ok(check, format!("{shown} is made when it is needed")),
            Err(error) => Finding::failed(check, format!("{shown} is not there and can't be made: {error}"), advice()),
        };
    }
    match try_to_write(folder) {
        Ok(()) => Finding::ok(check, format!("{shown} can be written")),
        Err(error) => Finding::failed(check, format!("{shown} can't be written: {error}"), advice()),
    }
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let file = folder.join(format!(".todo-platform-doctor-{}", std::process::id()));
    fs::OpenOptions::new().write(true).create_new(true).open(&file)?;
    fs::remove_file(&file)
}

/// Of the disk that the folder is on, or will be.
fn free_space(folder: &Path) -> Option<Finding> {
    let existing = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
    let disk = statvfs(existing).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let found = format!("{} free at {}", bytes(free), folder.display());
    Some(match free {
        ..FAIL_FREE => Finding::failed("disk", found, "make room: writes are refused when the disk is full"),
        FAIL_FREE..WARN_FREE => Finding::warning("disk", found, "make room before the disk is full"),
        _ => Finding::ok("disk", found),
    })
}

/// The secret that the server has made for itself.
fn private(folder: &Path) -> Option<Finding> {
    let file = folder.join("secret_key");
    let mode = fs::metadata(&file).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let found = format!("{} can be read by others on this machine ({mode:o})", file.display());
        Finding::failed("secret_key", found, "chmod 600, and change the secret if somebody may have read it")
    })
}

/// Who may read or write the database's file.
fn database_file(file: &Path) -> Option<Finding> {
    let mode = fs::metadata(file).ok()?.permissions().mode() & 0o777;
    let shown = file.display();
    if fs::OpenOptions::new().write(true).open(file).is_err() {
        let found = format!("{shown} can't be written ({mode:o})");
        return Some(Finding::failed("database_file", found, "let the user of the server own it"));
    }
    if mode & 0o006 != 0 && is_open_to_others(file) {
        let found = format!("others on this machine can read {shown} ({mode:o})");
        let advice = "chmod 700 its folder: all organizations' data is in this file";
        return Some(Finding::warning("database_file", found, advice));
    }
    Some(Finding::ok("database_file", format!("{shown} is for the user of the server ({mode:o})")))
}

/// Whether every folder on the way lets everybody through.
fn is_open_to_others(file: &Path) -> bool {
    let Ok(file) = file.canonicalize() else { return true };
    file.ancestors()
        .skip(1)
        .all(|folder| fs::metadata(folder).is_ok_and(|folder| folder.permissions().mode() & 0o001 != 0))
}

fn documents(config: &Config) -> Vec<Finding> {
    let unreadable = config.server.documents.iter().filter_map(|file| Some((file, fs::File::open(file).err()?)));
    unreadable
        .map(|(file, error)| {
            let found = format!("TODO_SERVER_DOCUMENTS: {} can't be read: {error}", file.display());
            Finding::failed("documents", found, "the server does not start without it")
        })
        .collect()
}

/// Connections are files, and so are those of the database and to receivers of webhooks.
fn files(config: &Config) -> Finding {
    let Some(limit) = connections::file_limit() else {
        return Finding::ok("file_limit", "the process may open as many files as it likes");
    };
    let found = format!("the process may open {limit} files");
    let advice = "raise it: `ulimit -n`, LimitNOFILE= of systemd, nofile of the container";
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let clients = config.server.max_connections.map(number);
    let needed =
        clients.unwrap_or_default() + u64::from(config.database.max_connections) + number(config.webhooks.concurrency);
    if clients.is_some() && needed > limit {
        let found = format!("{found}; connections of clients, database and webhooks may come to {needed}");
        return Finding::warning("file_limit", found, advice);
    }
    if limit < ENOUGH_FILES {
        return Finding::warning("file_limit", format!("{found}: three of four may be clients"), advice);
    }
    Finding::ok("file_limit", found)
}
