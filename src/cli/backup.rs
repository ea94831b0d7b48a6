//! `backup` and `restore`: the embedded database as one file.
//!
//! Whatever is written is written beside its place, checked, synced, and takes the place by one rename: a command that dies
//! leaves what was there.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use indicatif::{HumanBytes, ProgressBar};

use super::{
    console::{self, failure, say},
    draft::{Draft, beside, parent, refuse_to_overwrite},
};
use crate::{
    base::{
        clock::{Clock, format_instant},
        config::Config,
    },
    data::db::{
        Db,
        backup::{self, Contents, FileError, Look},
    },
};

#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// The file to write.
    file: PathBuf,
    /// Replace the file when it is there.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// A file that `backup` wrote.
    file: PathBuf,
    /// Replace the database that is there; it is kept beside the new one.
    #[arg(long)]
    force: bool,
}

/// Copies the database into a file, beside running servers and what they write. What they have acknowledged before this
/// begins is in it.
pub async fn back_up(args: &BackupArgs, config: &Config) -> anyhow::Result<()> {
    let database = sqlite_file(config, "backed up with pg_basebackup and its log, or with pg_dump")?;
    ensure!(database.is_file(), "there is no database {}", database.display());
    refuse_to_overwrite(&args.file, args.force, "--force replaces it")?;
    let draft = Draft::begin(&args.file, ".partial")?;
    let copied = copy(&database, draft.path()).await;
    copied.with_context(|| format!("{} can't be copied", database.display()))?;
    // Indexes were made anew.
    let contents = backup::check(draft.path(), Look::Quick).await.with_context(|| "the copy is no good".to_owned())?;
    let bytes = draft.take_place()?;
    say(format_args!(
        "{} has all of {}: {}, {}. Not in it, and needed with it: {}.",
        args.file.display(),
        database.display(),
        HumanBytes(bytes),
        counts(&contents),
        secret_of(config),
    ));
    Ok(())
}

/// `VACUUM INTO`, with a bar that goes by the size of what is written.
async fn copy(database: &Path, draft: &Path) -> Result<(), FileError> {
    let bar = bar("copying", backup::size(database).await?).unwrap_or_else(|_| ProgressBar::hidden());
    let copying = backup::copy_into(database, draft);
    tokio::pin!(copying);
    loop {
        let written = tokio::time::timeout(Duration::from_millis(200), &mut copying).await;
        if let Ok(done) = written {
            bar.finish_and_clear();
            return done;
        }
        bar.set_position(draft.metadata().map_or(0, |file| file.len()));
    }
}

/// Puts a backup in the database's place, while no server has it open.
pub async fn restore(args: &RestoreArgs, config: &Config) -> anyhow::Result<()> {
    let database =
        sqlite_file(config, "restored with PostgreSQL's own tools, and then `todo-platform admin restored`")?;
    refuse_to_overwrite(&database, args.force, "--force restores in its place, and keeps it beside")?;
    close_previous(&database).await?;
    let log = beside(&args.file, "-wal");
    ensure!(
        !log.metadata().is_ok_and(|log| log.len() > 0),
        "{} lies beside it: that is a database in use, or copied from one, and no backup",
        log.display()
    );
    if let Some(folder) = database.parent() {
        fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    }
    let draft = Draft::begin(&database, ".restoring")?;
    take_over(&args.file, &draft).with_context(|| format!("{} can't be read", args.file.display()))?;
    let checked = backup::check(draft.path(), Look::Whole).await;
    checked.with_context(|| format!("{} was not restored", args.file.display()))?;
    begin_again(draft.path(), config).await?;
    let contents = backup::check(draft.path(), Look::Quick).await?;
    // Once more: a server may have started meanwhile.
    close_previous(&database).await?;
    let kept = put_aside(&database, &draft)?;
    draft.take_place()?;
    let kept = kept.map_or(String::new(), |kept| format!(" What was there is {}.", kept.display()));
    say(format_args!("{} is restored: {}.{kept}", database.display(), counts(&contents)));
    say(format_args!(
        "It opens under the secret that it was made under: {}. Ledger cursors from before are refused (INVALID_CURSOR), so \
         that clients fetch everything anew. Keys and sessions that were revoked after the backup are valid again.",
        secret_of(config)
    ));
    Ok(())
}

/// A new life of the copy, in the schema of this release.
async fn begin_again(copy: &Path, config: &Config) -> anyhow::Result<()> {
    let mut database = config.database.clone();
    database.url = format!("sqlite://{}", copy.display());
    database.max_connections = 1;
    let db = Db::connect(&database, Clock::system(), None).await?;
    db.migrate(database.migration_wait).await?;
    db.read_epoch().await.map_err(failure)?;
    db.begin_epoch().await.map_err(failure)?;
    db.close().await;
    backup::make_whole(copy).await.context("the copy")
}

/// Makes the database that is there one file, or finds that somebody has it open. One that SQLite can't read is left as it is.
async fn close_previous(database: &Path) -> anyhow::Result<()> {
    if !database.exists() {
        return Ok(());
    }
    match backup::make_whole(database).await {
        Ok(()) => Ok(()),
        Err(FileError::Damaged(_) | FileError::Foreign) => {
            say(format_args!("{} can't be read, so nobody knows whether a server has it open.", database.display()));
            Ok(())
        }
        Err(error) => {
            Err(error).with_context(|| format!("{} can't be replaced; stop the server first", database.display()))
        }
    }
}

/// Gives the database that is there another name, with the log beside it; the new file gets its owner and rights. The name
/// in use stays until the new file takes it.
fn put_aside(database: &Path, draft: &Draft) -> anyhow::Result<Option<PathBuf>> {
    let owner = database.metadata().or_else(|_| parent(database).metadata())?;
    let own = draft.file.metadata()?;
    if (own.uid(), own.gid()) != (owner.uid(), owner.gid()) {
        chown(draft.path(), Some(owner.uid()), Some(owner.gid()))
            .with_context(|| format!("{} can't be given to the owner of the database", draft.path().display()))?;
    }
    let time = format_instant(Clock::system().now()).replace([':', '-'], "");
    let aside = beside(database, &format!(".before-{time}"));
    for end in ["-wal", "-shm"] {
        match fs::rename(beside(database, end), beside(&aside, end)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("its log can't be kept");
            }
            _ => {}
        }
    }
    if !database.exists() {
        return Ok(None);
    }
    fs::set_permissions(draft.path(), fs::Permissions::from_mode(owner.mode() & 0o777))?;
    // Not every file system has links.
    fs::hard_link(database, &aside)
        .or_else(|_| fs::rename(database, &aside))
        .with_context(|| format!("{} can't be kept as {}", database.display(), aside.display()))?;
    Ok(Some(aside))
}

/// Copies a file into the draft.
fn take_over(file: &Path, draft: &Draft) -> io::Result<()> {
    let mut from = File::open(file)?;
    let bar = bar("copying", from.metadata()?.len()).unwrap_or_else(|_| ProgressBar::hidden());
    let (mut to, mut piece) = (&draft.file, vec![0; 1 << 20]);
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            break;
        }
        to.write_all(&piece[..read])?;
        bar.inc(read as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

fn sqlite_file(config: &Config, otherwise: &str) -> anyhow::Result<PathBuf> {
    let Some(path) = config.database.url.strip_prefix("sqlite://") else {
        bail!("DATABASE_URL names PostgreSQL, which is {otherwise}: docs/backup.md has the steps");
    };
    Ok(path.split('?').next().unwrap_or(path).into())
}

fn bar(what: &'static str, bytes: u64) -> anyhow::Result<ProgressBar> {
    let template = "{msg} {bar:40} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
    Ok(console::progress(bytes, template)?.with_message(what))
}

fn counts(contents: &Contents) -> String {
    format!("{} organization(s), {} item(s)", contents.organizations, contents.items)
}

fn secret_of(config: &Config) -> String {
    if config.secret_key.is_some() {
        return "SECRET_KEY".to_owned();
    }
    format!("{} (or SECRET_KEY)", config.data_dir.join("secret_key").display())
}
