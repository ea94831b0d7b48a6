//! A page of a snapshot or of what has changed since a position of the ledger.
//!
//! The ledger's head is read first, everything else after it. So what changes meanwhile is told again by the next page
//! at worst, and never left out.

use async_graphql::Context;
use futures_util::future::try_join_all;
use sea_orm::{ColumnTrait, Iterable};
use uuid::Uuid;

use super::{
    cursor::SnapshotCursor,
    types::{SyncPage, SyncType, SyncTypes},
};
use crate::{
    base::{
        error::{Code, Refusal, Result},
        id::{AnyId, Kind, kind},
    },
    data::{
        db::{OrgScope, page::MAX_SYNC_PAGE},
        entity::{Keyed, comment, item, item_relation, membership, tag, team},
        ledger::LedgerCursor,
    },
    domains::{
        Node, comments::types::Comment, items::types::Item, members::types::Membership, node,
        organizations::types::Organization, relations::types::ItemRelation,
    },
    graphql::{context::ContextExt, scalars::Cursor},
};

pub async fn sync(ctx: &Context<'_>, after: Option<&str>, first: i32, types: Option<&[SyncType]>) -> Result<SyncPage> {
    let limit = u16::try_from(first)
        .ok()
        .filter(|limit| (1..=MAX_SYNC_PAGE).contains(limit))
        .ok_or_else(|| Refusal::bad_request(format!("`first` is 1 to {MAX_SYNC_PAGE}.")))?;
    // What the caller may not read at all is left out, ids included.
    let types: SyncTypes =
        SyncType::iter().filter(|ty| types.is_none_or(|types| types.contains(ty)) && ty.is_visible(ctx)).collect();
    let scope = ctx.scope()?;
    let head = scope.ledger_head().await?;
    let reader = Reader { ctx, scope, types, head, limit: limit.into() };
    let Some(after) = after else { return reader.snapshot(head, None).await };
    if let Some(cursor) = SnapshotCursor::decode(after) {
        scope.check_position(cursor.begun, head)?;
        if cursor.types != types {
            let message = "The cursor belongs to a snapshot of other types.";
            return Err(Refusal::new(Code::InvalidCursor, message).into());
        }
        return reader.snapshot(cursor.begun.sequence, Some(cursor.at)).await;
    }
    reader.delta(scope.decode_position(after, head)?).await
}

/// What a page is made with.
struct Reader<'a> {
    ctx: &'a Context<'a>,
    scope: &'a OrgScope,
    /// Asked for, and visible.
    types: SyncTypes,
    /// Read before anything else.
    head: i64,
    limit: usize,
}

impl Reader<'_> {
    fn position(&self, sequence: i64) -> LedgerCursor {
        self.scope.cursor(sequence)
    }

    /// Objects by type and id, from `from` on; `begun` is where the ledger stood before the first page.
    async fn snapshot(&self, begun: i64, from: Option<(SyncType, Uuid)>) -> Result<SyncPage> {
        let mut found: Vec<(SyncType, Uuid, Node)> = Vec::new();
        for ty in self.types.iter().skip_while(|ty| from.is_some_and(|(at, _)| *ty < at)) {
            // One more than the page holds, whichever type it is of, tells whether the walk goes on.
            let missing = self.limit + 1 - found.len();
            if missing == 0 {
                break;
            }
            let last = from.filter(|(at, _)| *at == ty).map(|(_, last)| last);
            found.extend(rows(self.scope, ty, last, missing).await?.into_iter().map(|(id, node)| (ty, id, node)));
        }
        self.scope.refuse_expired(begun, self.head).await?;
        let goes_on = found.len() > self.limit;
        found.truncate(self.limit);
        let begun = self.position(begun);
        let cursor = match found.last().filter(|_| goes_on) {
            Some((ty, id, _)) => SnapshotCursor { begun, types: self.types, at: (*ty, *id) }.encode(),
            None => begun.encode(),
        };
        Ok(SyncPage {
            nodes: found.into_iter().map(|(_, _, node)| node).collect(),
            removed_ids: Vec::new(),
            cursor: Cursor(cursor),
            has_more: goes_on || self.head > begun.sequence,
        })
    }

    /// What changed after `since`, each object at its latest event.
    async fn delta(&self, since: i64) -> Result<SyncPage> {
        let mut subjects = Vec::new();
        if since < self.head && !self.types.is_empty() {
            let kinds = self.types.iter().map(SyncType::prefix);
            subjects = self.scope.latest_events(since, kinds, self.limit + 1).await?;
        }
        // After the events, so that a purge in between can't have left a gap in them.
        self.scope.refuse_expired(since, self.head).await?;
        let has_more = subjects.len() > self.limit;
        subjects.truncate(self.limit);
        // At the end also past the events of other types.
        let reached = subjects.last().map_or(
            self.head,
            |(sequence, _)| {
                if has_more { *sequence } else { self.head.max(*sequence) }
            },
        );
        let states = try_join_all(subjects.iter().map(|(_, id)| self.state(*id))).await?;
        let mut page =
            SyncPage { nodes: Vec::new(), removed_ids: Vec::new(), cursor: self.position(reached).into(), has_more };
        for ((_, id), state) in subjects.iter().zip(states) {
            match state {
                Some(node) => page.nodes.push(node),
                None => page.removed_ids.push(*id),
            }
        }
        Ok(page)
    }

    /// An object as it is now.
    async fn state(&self, id: AnyId) -> Result<Option<Node>> {
        if id.prefix() == kind::Organization::PREFIX {
            return organization(self.scope).await;
        }
        node::load(self.ctx, id).await
    }
}

/// The organization as it is now: the scope's own may be older than the event that told of it.
async fn organization(scope: &OrgScope) -> Result<Option<Node>> {
    Ok(scope.present_organization().await?.map(Organization).map(Node::Organization))
}

/// The first `limit` objects of a type after an id.
async fn rows(scope: &OrgScope, ty: SyncType, after: Option<Uuid>, limit: usize) -> Result<Vec<(Uuid, Node)>> {
    match ty {
        SyncType::Organization => {
            // There is one.
            let found = if after.is_none() { organization(scope).await? } else { None };
            Ok(found.map(|node| (scope.organization_id().uuid(), node)).into_iter().collect())
        }
        SyncType::Membership => {
            table::<membership::Entity>(scope, after, limit, |row| Node::Membership(Membership(row))).await
        }
        SyncType::Team => table::<team::Entity>(scope, after, limit, |row| Node::Team(row.into())).await,
        SyncType::Tag => table::<tag::Entity>(scope, after, limit, |row| Node::Tag(row.into())).await,
        SyncType::Item => table::<item::Entity>(scope, after, limit, |row| Node::Item(Item::from(row))).await,
        SyncType::ItemRelation => {
            table::<item_relation::Entity>(scope, after, limit, |row| Node::ItemRelation(ItemRelation::from(row))).await
        }
        SyncType::Comment => {
            table::<comment::Entity>(scope, after, limit, |row| Node::Comment(Comment::from(row))).await
        }
    }
}

async fn table<E: Keyed>(
    scope: &OrgScope,
    after: Option<Uuid>,
    limit: usize,
    wrap: impl Fn(E::Model) -> Node,
) -> Result<Vec<(Uuid, Node)>> {
    let mut rows = scope.find::<E>().order_by_asc(E::ID).limit(limit as u64);
    if let Some(after) = after {
        rows = rows.filter(E::ID.gt(after));
    }
    Ok(rows.all().await?.into_iter().map(|row| (E::id(&row).uuid(), wrap(row))).collect())
}
