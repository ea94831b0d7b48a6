//! Deleting e-mails' files once they are old.

use std::{io, path::Path, time::Duration};

use tokio::fs;
use uuid::Uuid;

use super::Mailer;
use crate::base::{
    clock::first_uuid,
    error::{Error, Result},
};

impl Mailer {
    /// Deletes the files of e-mails that were written longer than `kept` ago, unfinished ones too; says how many. Files of
    /// other names are not the mailer's and stay.
    pub async fn purge(&self, kept: Duration) -> Result<u64> {
        let before = chrono::Duration::from_std(kept).ok().and_then(|kept| self.clock.ago(kept));
        let Some(before) = before else { return Ok(0) };
        delete_before(&self.outbox.folder, first_uuid(before)).await.map_err(Error::internal)
    }
}

async fn delete_before(folder: &Path, first_kept: Uuid) -> io::Result<u64> {
    let mut entries = match fs::read_dir(folder).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut deleted = 0;
    while let Some(entry) = entries.next_entry().await? {
        if letter_id(&entry.path()).is_none_or(|id| id >= first_kept) {
            continue;
        }
        match fs::remove_file(entry.path()).await {
            Ok(()) => deleted += 1,
            // Handed on and removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}

/// The id that names an e-mail's file, which has the time when it was written.
fn letter_id(path: &Path) -> Option<Uuid> {
    path.extension().filter(|extension| *extension == "eml" || *extension == "part")?;
    let id: Uuid = path.file_stem()?.to_str()?.parse().ok()?;
    (id.get_version_num() == 7).then_some(id)
}
