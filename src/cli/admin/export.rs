//! `admin organization export`: everything of one organization in a file, for whoever it belongs to.
//!
//! One JSON object a line. The first says what the file is; then rows, `{"table": …, "row": …}`, a table after the other; the
//! last is the manifest: which tables and columns there are, how many rows, and what was left out. A file without it is cut
//! off. `docs/EXPORT.md` is the guide.

use std::{
    io::{BufWriter, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, ensure};
use indicatif::{HumanCount, ProgressBar};
use sea_orm::{FromQueryResult, IdenStatic as _, Iterable as _};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::find_organization;
use crate::{
    base::{
        clock::format_instant,
        id::{AnyId, Kind, kind},
    },
    cli::{
        console::{self, failure, say},
        draft::{Draft, refuse_to_overwrite},
    },
    data::{
        db::{Db, export::Snapshot},
        entity::{
            Tenant, api_key, billing_event, comment, document_set, event, import, inbound_hook, inbound_receipt,
            invitation, invitation_team, item, item_assignee, item_relation, item_tag, item_watcher, ledger_head,
            membership, tag, team, team_member, trusted_document, usage, webhook, webhook_attempt, webhook_delivery,
        },
    },
};

/// Tables with rows of organizations that are not in an export, and why.
const TABLES_LEFT_OUT: [(&str, &str); 6] = [
    ("idempotency", "answers for repeats of requests, kept for a day"),
    ("import_part", "files that are being imported"),
    ("job", "work under way"),
    ("search_document", "made from items and comments"),
    ("search_tenant", "made from items and comments"),
    ("webhook_lane", "which process sends to a webhook now"),
];

/// Columns that are not in an export, and why.
const COLUMNS_LEFT_OUT: [(&str, &str, &str); 21] = [
    ("api_key", "lookup", "part of the key"),
    ("api_key", "secret_hash", "secret"),
    ("api_key", "hash_secret_id", "secret"),
    ("api_key", "previous_hash", "secret"),
    ("document_set", "manifest_hash", "made from the documents"),
    ("inbound_hook", "token", "part of the hook's address"),
    ("inbound_hook", "secret", "secret"),
    ("inbound_hook", "previous_secret", "secret"),
    ("inbound_receipt", "delivery_key", "made from delivery_id"),
    ("inbound_receipt", "body_key", "made from the body"),
    ("invitation", "email_key", "made from email"),
    ("invitation", "token_hash", "secret"),
    ("invitation", "mailed_token_hash", "secret"),
    ("item", "assignee_ids", "made from item_assignee"),
    ("item", "tag_ids", "made from item_tag"),
    ("item", "title_key", "made from title"),
    ("tag", "name_key", "made from name"),
    ("team", "name_key", "made from name"),
    ("trusted_document", "text_hash", "made from text"),
    ("webhook", "secret", "secret"),
    ("webhook", "previous_secret", "secret"),
];

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Slug or id.
    organization: String,
    /// The file to write.
    file: PathBuf,
    /// Replace the file when it is there.
    #[arg(long)]
    force: bool,
}

pub async fn run(db: &Db, args: &ExportArgs) -> anyhow::Result<()> {
    let named = find_organization(db, &args.organization).await?;
    refuse_to_overwrite(&args.file, args.force, "--force replaces it")?;
    let draft = Draft::begin(&args.file, ".partial")?;
    let snapshot = db.snapshot(named.id).await.map_err(failure)?;
    let organization = snapshot.organization().await.map_err(failure)?.context("the organization is gone")?;
    let bar = console::progress(0, "{spinner} {msg}: {human_pos} rows, {per_sec}")?;
    let mut export = Export { out: BufWriter::new(&draft.file), snapshot, bar, tables: Map::new(), rows: 0 };
    let begins = json!({
        "format": "todo-platform-organization",
        "version": 1,
        "release": env!("CARGO_PKG_VERSION"),
        "organization": organization.slug,
        "exportedAt": format_instant(db.clock().now()),
    });
    export.line(&begins)?;
    export.all(&organization).await?;
    let rows = export.finish().await?;
    let bytes = draft.take_place()?;
    say(format_args!(
        "{} has {} row(s) of {}, {}. Names and e-mail addresses of its members are among them.",
        args.file.display(),
        HumanCount(rows),
        organization.slug,
        indicatif::HumanBytes(bytes)
    ));
    Ok(())
}

/// An export that is being written.
struct Export<'f> {
    out: BufWriter<&'f std::fs::File>,
    snapshot: Snapshot,
    bar: ProgressBar,
    /// Of the manifest: columns and rows, by table.
    tables: Map<String, Value>,
    rows: u64,
}

impl Export<'_> {
    /// What others refer to comes first.
    async fn all(&mut self, organization: &impl Serialize) -> anyhow::Result<()> {
        self.row("organization", serde_json::to_value(organization)?)?;
        let columns = columns_of::<crate::data::entity::organization::Entity>("organization");
        self.done("organization", &columns, 1);
        self.table::<ledger_head::Entity>().await?;
        self.people().await?;
        self.table::<membership::Entity>().await?;
        self.table::<team::Entity>().await?;
        self.table::<team_member::Entity>().await?;
        self.table::<invitation::Entity>().await?;
        self.table::<invitation_team::Entity>().await?;
        self.table::<tag::Entity>().await?;
        self.table::<item::Entity>().await?;
        self.table::<item_assignee::Entity>().await?;
        self.table::<item_tag::Entity>().await?;
        self.table::<item_relation::Entity>().await?;
        self.table::<item_watcher::Entity>().await?;
        self.table::<comment::Entity>().await?;
        self.table::<document_set::Entity>().await?;
        self.table::<trusted_document::Entity>().await?;
        self.table::<import::Entity>().await?;
        self.table::<api_key::Entity>().await?;
        self.table::<inbound_hook::Entity>().await?;
        self.table::<inbound_receipt::Entity>().await?;
        self.table::<webhook::Entity>().await?;
        self.table::<webhook_delivery::Entity>().await?;
        self.table::<webhook_attempt::Entity>().await?;
        self.table::<billing_event::Entity>().await?;
        self.table::<usage::Entity>().await?;
        self.table::<event::Entity>().await
    }

    async fn table<E>(&mut self) -> anyhow::Result<()>
    where
        E: Tenant,
        E::Model: Serialize + FromQueryResult,
    {
        let name = E::default().table_name().to_owned();
        self.bar.set_message(name.clone());
        let (mut last, mut rows) = (None, 0_u64);
        loop {
            let mut page = self.snapshot.rows_after::<E>(last.as_ref()).await.map_err(failure)?;
            for row in &page {
                self.row(&name, serde_json::to_value(row)?)?;
            }
            rows += page.len() as u64;
            let Some(end) = page.pop() else { break };
            last = Some(end);
        }
        self.done(&name, &columns_of::<E>(&name), rows);
        Ok(())
    }

    /// Members as people: what fellow members see of them.
    async fn people(&mut self) -> anyhow::Result<()> {
        let (mut last, mut rows) = (None, 0);
        loop {
            let page = self.snapshot.people_after(last).await.map_err(failure)?;
            let Some(end) = page.last() else { break };
            last = Some(end.id);
            rows += page.len() as u64;
            for person in &page {
                self.row("user", serde_json::to_value(person)?)?;
            }
        }
        let columns = ["id", "username", "fullName", "email", "avatarUrl", "timeZone"].map(str::to_owned);
        self.done("user", &columns, rows);
        Ok(())
    }

    fn row(&mut self, table: &str, mut row: Value) -> anyhow::Result<()> {
        if let Some(row) = row.as_object_mut() {
            for column in left_out_of(table) {
                row.remove(&camel_case(column));
            }
            name_ids(row);
        }
        self.rows += 1;
        self.bar.inc(1);
        self.line(&json!({ "table": table, "row": row }))
    }

    fn line(&mut self, line: &Value) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.out, line).context("the file can't be written")?;
        self.out.write_all(b"\n").context("the file can't be written")
    }

    fn done(&mut self, table: &str, columns: &[String], rows: u64) {
        self.tables.insert(table.to_owned(), json!({ "rows": rows, "columns": columns }));
    }

    /// Writes the manifest; how many rows there are in all.
    async fn finish(mut self) -> anyhow::Result<u64> {
        let columns: Vec<Value> = COLUMNS_LEFT_OUT
            .iter()
            .map(|(table, column, why)| json!({ "table": table, "column": camel_case(column), "why": why }))
            .collect();
        let tables: Vec<Value> =
            TABLES_LEFT_OUT.iter().map(|(table, why)| json!({ "table": table, "why": why })).collect();
        let all = std::mem::take(&mut self.tables);
        let manifest = json!({ "rows": self.rows, "tables": all,
            "leftOut": { "tables": tables, "columns": columns } });
        self.line(&json!({ "manifest": manifest }))?;
        self.out.flush().context("the file can't be written")?;
        self.bar.finish_and_clear();
        self.snapshot.close().await.map_err(failure)?;
        ensure!(self.rows > 0, "nothing was read");
        Ok(self.rows)
    }
}

fn left_out_of(table: &str) -> impl Iterator<Item = &'static str> {
    COLUMNS_LEFT_OUT.into_iter().filter(move |(of, ..)| *of == table).map(|(_, column, _)| column)
}

/// The columns of a table that an export has.
fn columns_of<E: sea_orm::EntityTrait>(table: &str) -> Vec<String> {
    let left_out: Vec<&str> = left_out_of(table).collect();
    let columns = E::Column::iter().map(|column| column.as_str().to_owned());
    columns.filter(|column| !left_out.contains(&column.as_str())).map(|column| camel_case(&column)).collect()
}

fn camel_case(column: &str) -> String {
    let mut words = column.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        name + &initial.to_uppercase() + rest
    })
}

/// Ids whose kind stands beside them (`actorKind`, `actorId`) as the API has them.
fn name_ids(row: &mut Map<String, Value>) {
    let kinds: Vec<(String, String)> = row
        .iter()
        .filter_map(|(name, kind)| Some((name.strip_suffix("Kind")?.to_owned() + "Id", kind.as_str()?.to_owned())))
        .collect();
    for (name, of) in kinds {
        let prefix = match of.as_str() {
            "SYSTEM" => kind::System::PREFIX,
            "USER" => kind::User::PREFIX,
            "API_KEY" => kind::ApiKey::PREFIX,
            "INBOUND_HOOK" => kind::InboundHook::PREFIX,
            other => other,
        };
        let Some(id) = row.get_mut(&name) else { continue };
        let uuid: Option<Uuid> = id.as_str().and_then(|id| id.parse().ok());
        if let Some(found) = uuid.and_then(|uuid| AnyId::new(prefix, uuid)) {
            *id = found.to_string().into();
        }
    }
}
