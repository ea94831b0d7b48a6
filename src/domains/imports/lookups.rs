//! What the organization has already of what a file holds.

use std::collections::{BTreeSet, HashMap};

use sea_orm::{ColumnTrait as _, sea_query::Expr};
use uuid::Uuid;

use super::{file::record::Record, plan::id_of};
use crate::{
    base::{
        clock::Instant,
        error::Result,
        id::{CommentId, Id, ItemId},
    },
    data::{
        db::{
            OrgScope,
            filter::{among, among_uuids},
        },
        entity::{EventType, comment, event, item},
    },
    domains::{
        comments::input::{CommentCreateInput, MAX_BODY},
        inbound_hooks::mapping::cut,
        items::input::MAX_ANCESTORS,
    },
    graphql::scalars::Markdown,
};

/// Ids of one statement's look-up at most.
const LOOKED_UP: usize = 2_000;

/// Items among these ids that are there, and which of them are in the trash.
pub async fn present(scope: &OrgScope, ids: &[ItemId]) -> Result<HashMap<ItemId, bool>> {
    let mut present = HashMap::new();
    for chunk in ids.chunks(LOOKED_UP) {
        let these = among(scope.db(), item::Column::Id, chunk.iter().copied());
        let rows = scope.find::<item::Entity>().filter(these);
        let rows = rows.columns::<ItemId, Option<Instant>>(item::Column::Id, item::Column::DeletedAt).await?;
        present.extend(rows.into_iter().map(|(id, deleted_at)| (id, deleted_at.is_some())));
    }
    Ok(present)
}

/// How many ancestors each of these items has.
pub async fn levels(scope: &OrgScope, ids: &[ItemId]) -> Result<HashMap<ItemId, usize>> {
    let mut above: HashMap<ItemId, Option<ItemId>> = HashMap::new();
    let mut next: Vec<ItemId> = ids.to_vec();
    for _ in 0..=MAX_ANCESTORS {
        let mut upper = BTreeSet::new();
        for chunk in next.chunks(LOOKED_UP) {
            let these = among(scope.db(), item::Column::Id, chunk.iter().copied());
            let rows = scope.find::<item::Entity>().filter(these);
            let rows = rows.columns::<ItemId, Option<ItemId>>(item::Column::Id, item::Column::ParentId).await?;
            upper.extend(rows.iter().filter_map(|(_, parent)| *parent).filter(|id| !above.contains_key(id)));
            above.extend(rows);
        }
        if upper.is_empty() {
            break;
        }
        next = upper.into_iter().collect();
    }
    let level =
        |id: &ItemId| std::iter::successors(above.get(id).copied().flatten(), |id| above.get(id).copied().flatten());
    Ok(ids.iter().map(|id| (*id, level(id).take(MAX_ANCESTORS + 1).count())).collect())
}

/// Comments that are not there and have not been deleted since an earlier import.
pub async fn comments<'r>(
    scope: &OrgScope,
    source: &str,
    records: impl Iterator<Item = (ItemId, &'r Record)>,
) -> Result<Vec<CommentCreateInput>> {
    let mut wanted = Vec::new();
    for (item_id, record) in records {
        for said in &record.comments {
            let what = format!("{}\n{}", record.source_id, said.source_id);
            let id: CommentId = id_of(scope.organization_id(), source, &what);
            let body = attributed(&said.author, said.at, &said.body);
            wanted.push(CommentCreateInput { id: Some(id), item_id, parent_id: None, body: Markdown(body) });
        }
    }
    let mut known: BTreeSet<CommentId> = BTreeSet::new();
    for chunk in wanted.chunks(LOOKED_UP) {
        let ids = || chunk.iter().filter_map(|comment| comment.id);
        let these = among(scope.db(), comment::Column::Id, ids());
        known.extend(scope.find::<comment::Entity>().filter(these).column::<CommentId>(comment::Column::Id).await?);
        let subject = Expr::col(event::Column::SubjectId);
        let gone = among_uuids(scope.db(), subject, ids().map(Id::uuid).collect());
        let gone = scope.find::<event::Entity>().filter(gone).filter(event::Column::Type.eq(EventType::CommentDeleted));
        let gone = gone.column::<Uuid>(event::Column::SubjectId).await?;
        known.extend(gone.into_iter().map(CommentId::from_uuid));
    }
    // Also one that the source has twice.
    wanted.retain(|comment| comment.id.is_some_and(|id| known.insert(id)));
    Ok(wanted)
}

/// A comment with who wrote it and when: it is made by whoever imports it.
fn attributed(author: &str, at: Option<Instant>, body: &str) -> String {
    let at = at.map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string());
    let author = Some(author.trim()).filter(|author| !author.is_empty()).map(|author| format!("**{author}**"));
    let head: Vec<String> = author.into_iter().chain(at).collect();
    cut(format!("{}\n\n{}", head.join(" · "), body.trim()).trim(), MAX_BODY)
}
