//! `import`: the command, and how it reports. What an import is: [`domains::imports`](crate::domains::imports).

mod report;

use std::{fs::File, io::Read, path::PathBuf};

use anyhow::{Context as _, bail};
use encoding_rs::Encoding;
use sea_orm::ColumnTrait as _;

use self::report::{End, Report, plain};
use super::{
    admin::{connect, find_organization},
    console::{self, failure, say},
};
use crate::{
    base::{
        config::Config,
        enums::{ItemStatus, Priority},
        id::OrganizationId,
    },
    data::{
        actor::Origin,
        db::{
            Db, OrgScope,
            filter::{email_key, fold},
        },
        entity::user,
    },
    domains::imports::{
        file::{
            self,
            dates::DateOrder,
            formats::Format,
            record::{Field, Unreadable},
            values::{self, Reading},
        },
        options::{Asker, Options, UnknownPeople, separator},
        plan,
        write::{Step, Writer, Written, step},
    },
};

/// Bytes of a file at most; all of it is held in memory.
const MAX_FILE: u64 = 256 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// Slug or id.
    #[arg(long, value_name = "SLUG")]
    organization: String,
    /// What to import; `-` is the standard input.
    file: PathBuf,
    /// Only check, and say what would be done; ends with 1 when something is bad.
    #[arg(long)]
    check: bool,
    /// Import what is good although something is bad.
    #[arg(long)]
    skip_bad: bool,
    /// Whose export it is; found out when left out.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Which project or file the records are of; what is imported from one source is never made twice.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// A column by its name, and the field that it is (`ignore`: not used).
    #[arg(long, value_name = "COLUMN=FIELD", value_parser = pair::<Field>)]
    map: Vec<(String, Field)>,
    /// A status by the name that it has in the file: "Waiting=IN_PROGRESS".
    #[arg(long, value_name = "NAME=STATUS", value_parser = status)]
    status: Vec<(String, ItemStatus)>,
    /// A priority by the name that it has in the file: "1=URGENT".
    #[arg(long, value_name = "NAME=PRIORITY", value_parser = priority)]
    priority: Vec<(String, Priority)>,
    /// The e-mail address of somebody whom the file names otherwise.
    #[arg(long, value_name = "NAME=ADDRESS", value_parser = person)]
    person: Vec<(String, String)>,
    /// What becomes of records that are assigned to somebody who is no active member.
    #[arg(long, value_enum, default_value = "fail")]
    unknown_people: UnknownPeople,
    /// The e-mail address of the member who makes the items, with their rights; the server itself when left out.
    #[arg(long = "as", value_name = "ADDRESS")]
    author: Option<String>,
    /// Make tags that are not there.
    #[arg(long)]
    create_tags: bool,
    /// Make teams that are not there.
    #[arg(long)]
    create_teams: bool,
    /// The team of records that name none.
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// A field that is left out.
    #[arg(long, value_name = "FIELD", value_enum)]
    without: Vec<Field>,
    /// Shorten titles and descriptions that are too long.
    #[arg(long)]
    cut: bool,
    /// What 1/2/2026 means, where the file doesn't show it.
    #[arg(long, value_enum)]
    dates: Option<DateOrder>,
    /// How the file is encoded; found out when left out.
    #[arg(long, value_name = "NAME", value_parser = encoding)]
    encoding: Option<String>,
    /// What separates columns, a character or `tab`; found out when left out.
    #[arg(long, value_name = "CHARACTER", value_parser = separator)]
    separator: Option<char>,
    /// Take what the source has archived, too.
    #[arg(long)]
    archived: bool,
    /// Report as JSON, for programs.
    #[arg(long)]
    json: bool,
}

fn split(text: &str) -> Result<(&str, &str), String> {
    text.rsplit_once('=').ok_or_else(|| "a name, =, and what it is".to_owned())
}

fn pair<V: clap::ValueEnum>(text: &str) -> Result<(String, V), String> {
    let (name, value) = split(text)?;
    Ok((name.to_owned(), V::from_str(value.trim(), true)?))
}

fn status(text: &str) -> Result<(String, ItemStatus), String> {
    let (name, value) = split(text)?;
    let status = serde_json::from_value(value.trim().to_uppercase().into()).ok();
    let status = status.filter(|status| *status != ItemStatus::Archived);
    Ok((values::key(name), status.ok_or("TODO, IN_PROGRESS, IN_REVIEW or DONE")?))
}

fn priority(text: &str) -> Result<(String, Priority), String> {
    let (name, value) = split(text)?;
    let priority = serde_json::from_value(value.trim().to_uppercase().into());
    Ok((values::key(name), priority.map_err(|_| "LOW, MEDIUM, HIGH or URGENT")?))
}

fn person(text: &str) -> Result<(String, String), String> {
    let (name, email) = split(text)?;
    if !email.contains('@') {
        return Err("a name, =, and an e-mail address".to_owned());
    }
    Ok((fold(name), email.trim().to_owned()))
}

fn encoding(label: &str) -> Result<String, String> {
    let known = Encoding::for_label(label.as_bytes());
    known.map(|_| label.to_owned()).ok_or_else(|| "an encoding such as utf-8, utf-16le or iso-8859-1".to_owned())
}

impl ImportArgs {
    fn options(&self) -> Options {
        Options {
            format: self.format,
            source: self.source.clone(),
            map: self.map.clone(),
            statuses: self.status.iter().cloned().collect(),
            priorities: self.priority.iter().cloned().collect(),
            people: self.person.iter().cloned().collect(),
            unknown_people: self.unknown_people,
            create_tags: self.create_tags,
            create_teams: self.create_teams,
            team: self.team.clone(),
            without: self.without.iter().copied().collect(),
            cut: self.cut,
            dates: self.dates,
            encoding: self.encoding.clone(),
            separator: self.separator,
            archived: self.archived,
            asked_by: Asker::Command,
        }
    }

    fn file_name(&self) -> String {
        self.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        if self.file.as_os_str() == "-" {
            return read(std::io::stdin().lock());
        }
        let name = self.file.display();
        read(File::open(&self.file).with_context(|| format!("{name}"))?).with_context(|| format!("{name}"))
    }
}

/// Reads everything, up to [`MAX_FILE`].
fn read(source: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        let message = format!("More than {} MiB; split it, or export less at once.", MAX_FILE / 1024 / 1024);
        return Err(Unreadable::new("FILE_TOO_LARGE", message).into());
    }
    Ok(bytes)
}

/// Runs the command against the database that the settings name.
pub async fn run(args: &ImportArgs, config: &Config) -> anyhow::Result<()> {
    let db = connect(config).await?;
    let done = import(args, &db).await;
    db.close().await;
    done
}

/// The organization, for the server itself or for a member.
async fn scope(args: &ImportArgs, db: &Db, organization_id: OrganizationId) -> anyhow::Result<OrgScope> {
    let origin = Origin::command("import");
    let Some(email) = &args.author else {
        return OrgScope::of_system(db, organization_id, origin).await.map_err(failure);
    };
    let person =
        db.find_global::<user::Entity>(user::Column::EmailKey.eq(email_key(email))).await.map_err(failure)?.pop();
    let person = person.with_context(|| format!("--as: nobody has the address {email:?}"))?;
    let scope = OrgScope::of_command_by(db, organization_id, person.id, origin).await.map_err(failure)?;
    scope.with_context(|| format!("--as: {email:?} is no active member of the organization"))
}

async fn import(args: &ImportArgs, db: &Db) -> anyhow::Result<()> {
    let organization = find_organization(db, &args.organization).await?;
    let scope = scope(args, db, organization.id).await?;
    let name = args.file.to_string_lossy();
    let reading = Reading::of(&scope, args.file_name(), args.options());
    let read = file::read(args.bytes()?, &reading);
    let read = read.map_err(|error| anyhow::Error::msg(plain(&format!("{name}: {error}"))))?;
    let file::ReadFile { format, encoding, separator, found } = read;
    let (source, columns, unused) = (found.source.clone(), found.columns.clone(), found.unused.clone());
    let records = found.records.len();
    let plan = plan::plan(&scope, found, &reading.options).await.map_err(failure)?;
    let report = Report {
        file: &name,
        format,
        encoding: &encoding,
        separator,
        source: &source,
        columns: &columns,
        unused: &unused,
        records,
        plan: &plan,
        organization: &organization.slug,
    };
    if !args.json {
        say(report.found());
    }
    let tell = |end| {
        if args.json {
            say(format_args!("{:#}", report.as_json(end)));
        } else {
            say(report.ended(end));
        }
    };
    let is_refused = !plan.refused.is_empty() || (plan.bad_records > 0 && !args.skip_bad);
    if is_refused || args.check {
        tell(if args.check { End::Checked } else { End::Refused });
        let refused: Vec<String> =
            plan.refused.iter().map(|fault| format!("{}: {}", fault.code, fault.message)).collect();
        if !refused.is_empty() {
            bail!(refused.join("\n"));
        }
        if plan.bad_records > 0 {
            let hint = if args.check { "" } else { "; --skip-bad imports the others" };
            bail!("{} of {records} record(s) are bad{hint}", plan.bad_records);
        }
        return Ok(());
    }
    let steps = (plan.items.len() + plan.comments.len()) as u64;
    let bar = console::progress(steps, "importing {bar:40} {human_pos} of {human_len}, {eta} left")?;
    let mut written = Written::default();
    let done = loop {
        match step(Writer::Scope(&scope), &plan, &mut written).await {
            Ok(Step::More) => bar.set_position((written.items + written.comments) as u64),
            Ok(Step::Done | Step::Lost) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    bar.finish_and_clear();
    tell(End::Written(written));
    done.map_err(|error| {
        failure(error).context("the import stopped; what is written stays, and running it again goes on")
    })
}
