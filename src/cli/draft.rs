//! Files that are written beside their place, and take it by one rename: a command that dies leaves what was there.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};

/// A file that is being written beside the place that it is for. Dropped before it has taken it, it is removed.
pub struct Draft {
    /// Locked, so that two commands don't write the same.
    pub file: File,
    path: PathBuf,
    place: PathBuf,
    has_place: bool,
}

impl Draft {
    /// What a command that died has left there is overwritten. Readable by its owner alone: everything is in it.
    pub fn begin(place: &Path, end: &str) -> anyhow::Result<Self> {
        let path = beside(place, end);
        let unusable = || format!("{} can't be written", path.display());
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.with_context(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another command is writing {}", path.display()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(unusable),
        }
        file.set_len(0).with_context(unusable)?;
        Ok(Self { file, path, place: place.to_owned(), has_place: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// On disk, then in its place; its size in bytes.
    pub fn take_place(mut self) -> anyhow::Result<u64> {
        let unusable = || format!("{} can't be written", self.place.display());
        self.file.sync_all().with_context(unusable)?;
        let bytes = self.file.metadata().with_context(unusable)?.len();
        fs::rename(&self.path, &self.place).with_context(unusable)?;
        File::open(parent(&self.place)).and_then(|folder| folder.sync_all()).with_context(unusable)?;
        self.has_place = true;
        Ok(bytes)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.has_place {
            for end in ["", "-wal", "-shm", "-journal"] {
                let _ = fs::remove_file(beside(&self.path, end));
            }
        }
    }
}

/// Refuses a folder, and without `force` whatever is there.
pub fn refuse_to_overwrite(file: &Path, force: bool, hint: &str) -> anyhow::Result<()> {
    ensure!(force || !file.exists(), "{} is there; {hint}", file.display());
    ensure!(!file.is_dir(), "{} is a folder", file.display());
    Ok(())
}

/// The file's name with an end.
pub fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(end);
    name.into()
}

/// The folder that it is in.
pub fn parent(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
