//! `admin reencrypt`: everything that is encrypted in the database, under the present `SECRET_KEY`.
//!
//! In chunks, beside running servers: a value that changed meanwhile is left to whoever changed it. Running it again is
//! harmless.

use anyhow::bail;
use sea_orm::{ActiveValue::Set, Condition};

use super::{origin, say};
use crate::{
    base::{
        error::Result,
        id::{InboundHookId, WebhookId},
        secret::{INBOUND_HOOK, INBOUND_HOOK_PREVIOUS, Place, SealedColumn, WEBHOOK, WEBHOOK_PREVIOUS},
    },
    cli::console::failure,
    data::{
        db::{AccountTx, retrying, sealed::SealedValue},
        entity::{ActorRef, signing_key},
    },
    platform::{auth::token, state::State},
};

/// What became of the values of one kind.
#[derive(Default)]
struct Report {
    current: u64,
    sealed: u64,
    unreadable: u64,
}

/// How an id of a column's rows is written where a value is bound to it.
type WriteId = fn(uuid::Uuid) -> String;

/// The columns of organizations' rows.
const OF_ORGANIZATIONS: [(&str, SealedColumn, WriteId); 4] = [
    ("webhook secrets", WEBHOOK, |id| WebhookId::from_uuid(id).to_string()),
    ("webhook secrets before a rotation", WEBHOOK_PREVIOUS, |id| WebhookId::from_uuid(id).to_string()),
    ("inbound hook secrets", INBOUND_HOOK, |id| InboundHookId::from_uuid(id).to_string()),
    ("inbound hook secrets before a rotation", INBOUND_HOOK_PREVIOUS, |id| InboundHookId::from_uuid(id).to_string()),
];

/// Encrypts anew what is not under the present secret, and prints what there is of each kind. Fails while something opens
/// under none of the secrets.
pub async fn run(state: &State, dry_run: bool) -> anyhow::Result<()> {
    let mut unreadable = 0;
    let mut left = 0;
    let mut print = |what: &str, report: &Report| {
        let done = if dry_run { "to be encrypted anew" } else { "encrypted anew" };
        say(format_args!(
            "{what}: {} current, {} {done}, {} unreadable",
            report.current, report.sealed, report.unreadable
        ));
        unreadable += report.unreadable;
        left += if dry_run { report.sealed } else { 0 };
    };
    print("signing keys", &signing_keys(state, dry_run).await.map_err(failure)?);
    for (what, column, write_id) in OF_ORGANIZATIONS {
        print(what, &column_of_organizations(state, column, write_id, dry_run).await.map_err(failure)?);
    }
    let keys = state.db.keys_hashed_before(state.mint.secret_id()).await.map_err(failure)?;
    say(format_args!("API keys: {keys} not used yet under the present SECRET_KEY (each moves when it is used)"));
    if unreadable > 0 {
        bail!("{unreadable} value(s) open under none of the secrets: SECRET_KEY_OLD lacks the one that they are under");
    }
    say(match (left + unreadable, keys) {
        (0, 0) => "Nothing is left: SECRET_KEY_OLD may go.".to_owned(),
        (0, keys) => format!(
            "Keep SECRET_KEY_OLD until the {keys} API key(s) have been used; without it they stop working, and must be rotated."
        ),
        (left, _) => format!("{left} value(s) are left: keep SECRET_KEY_OLD."),
    });
    Ok(())
}

async fn signing_keys(state: &State, dry_run: bool) -> Result<Report> {
    let mut report = Report::default();
    for row in state.db.find_global::<signing_key::Entity>(Condition::all()).await? {
        let place = token::place(&row.id);
        let Some(sealed) = anew(state, &place, &row.secret, &mut report)? else { continue };
        if dry_run {
            continue;
        }
        let (id, origin) = (&row.id, &origin());
        retrying(|| async {
            let tx = AccountTx::begin(&state.db, origin).await?;
            let row =
                signing_key::ActiveModel { id: Set(id.clone()), secret: Set(sealed.clone()), ..Default::default() };
            tx.update(row).await?;
            tx.commit(ActorRef::SYSTEM, ()).await
        })
        .await?;
    }
    Ok(report)
}

async fn column_of_organizations(
    state: &State,
    column: SealedColumn,
    write_id: WriteId,
    dry_run: bool,
) -> Result<Report> {
    let mut report = Report::default();
    let mut last: Option<SealedValue> = None;
    loop {
        let values = state.db.sealed_values(column, last.as_ref()).await?;
        let Some(end) = values.last() else { return Ok(report) };
        last = Some(end.clone());
        let mut changes = Vec::new();
        for value in values {
            let place = Place::new(column, Some(value.organization), write_id(value.id));
            if let Some(sealed) = anew(state, &place, &value.sealed, &mut report)? {
                changes.push((value, sealed));
            }
        }
        if !dry_run && !changes.is_empty() {
            retrying(|| state.db.replace_sealed(column, &changes)).await?;
        }
    }
}

/// The value sealed anew, unless it is current or opens under no secret; counts which it was.
fn anew(state: &State, place: &Place, sealed: &[u8], report: &mut Report) -> Result<Option<Vec<u8>>> {
    if state.secret.is_current(sealed) {
        report.current += 1;
        return Ok(None);
    }
    let Ok(plain) = state.secret.open(place, sealed) else {
        report.unreadable += 1;
        return Ok(None);
    };
    report.sealed += 1;
    state.secret.seal(place, &plain).map(Some)
}
