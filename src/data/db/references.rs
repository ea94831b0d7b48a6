//! Tags, teams and people that rows of an organization refer to, cached: page after page names the same few.
//!
//! How often they have changed is counted in the database, by its own triggers. The statement that reads a page reads these
//! counts along ([`ReferenceVersion`]), and an entry is used only where it was read at the very same count. So nobody is
//! shown what was already changed when their page was read, whichever instance changed it, and nothing is asked more.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use moka::sync::Cache;
use sea_orm::{
    ConnectionTrait as _, Iterable as _, QueryFilter as _, QuerySelect as _, QueryTrait as _, Select,
    prelude::{ColumnTrait as _, Uuid},
    sea_query::{Query, SimpleExpr},
};

use super::{Connections, Db, OrgScope, fail, filter::among};
use crate::{
    base::{
        cache_use::{CacheUse, Looks, Measure},
        error::Result,
        id::{Id, Kind, OrganizationId, TagId, TeamId, UserId},
    },
    data::entity::{Decode, Keyed, Tenant as _, ledger_head, profile_revision, tag, team, user},
};

/// Bytes that an entry takes besides its texts.
const OVERHEAD: usize = 400;

/// How often what may be referred to has changed: in the organization, and people on this server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReferenceVersion {
    organization: i64,
    people: i64,
}

impl ReferenceVersion {
    /// What a statement about an organization selects for it, in this order.
    pub(super) fn selected(organization: OrganizationId) -> [SimpleExpr; 2] {
        let organization = Query::select()
            .column(ledger_head::Column::ReferenceRevision)
            .from(ledger_head::Entity)
            .and_where(ledger_head::Entity::ORGANIZATION.eq(organization))
            .take();
        let people = Query::select().column(profile_revision::Column::Revision).from(profile_revision::Entity).take();
        [organization, people].map(|select| SimpleExpr::SubQuery(None, Box::new(select.into())))
    }

    pub(super) fn new(organization: i64, people: i64) -> Self {
        Self { organization, people }
    }
}

/// The caches of one database.
#[derive(Debug)]
pub(super) struct References {
    tags: Rows<tag::Model>,
    teams: Rows<team::Model>,
    people: Rows<user::Model>,
}

impl References {
    /// `capacity` in bytes, for all together; 0: nothing is cached.
    pub(super) fn new(capacity: u64) -> Self {
        fn text(text: &Option<String>) -> usize {
            text.as_ref().map_or(0, String::len)
        }
        Self {
            tags: Rows::new(capacity / 4, |tag: &tag::Model| tag.name.len() + tag.name_key.len()),
            teams: Rows::new(capacity / 4, |team: &team::Model| {
                team.name.len() + team.name_key.len() + text(&team.description)
            }),
            people: Rows::new(capacity / 2, |user: &user::Model| {
                2 * (user.email.len() + user.username.len() + text(&user.full_name)) + text(&user.avatar_url)
            }),
        }
    }
}

/// Rows of one table, by organization (of people: that named them) and id. Those of one organization lie together: a page looks for
/// dozens, at the same count.
#[derive(Debug)]
struct Rows<M: Send + Sync + 'static> {
    shelves: Cache<Uuid, Arc<Shelf<M>>>,
    /// Bytes of one shelf at most: what names more than that takes turns.
    shelf_size: usize,
    texts: fn(&M) -> usize,
    looks: Looks,
}

/// Rows as they were at one count.
#[derive(Debug)]
struct Shelf<M> {
    at: Count,
    rows: RwLock<HashMap<Uuid, Arc<M>>>,
    bytes: AtomicUsize,
}

/// Rows by their ids.
type Found<K, M> = HashMap<Id<K>, Arc<M>>;

/// A count of changes; the life of the database is part of it, since a restored one counts again from an earlier count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
struct Count {
    epoch: u32,
    changes: i64,
}

impl<M: Send + Sync + 'static> Rows<M> {
    fn new(capacity: u64, texts: fn(&M) -> usize) -> Self {
        let weigh = |_: &Uuid, shelf: &Arc<Shelf<M>>| {
            u32::try_from(shelf.bytes.load(Ordering::Relaxed) + OVERHEAD).unwrap_or(u32::MAX)
        };
        let shelf_size = usize::try_from(capacity / 2).unwrap_or(usize::MAX);
        let shelves = Cache::builder().max_capacity(capacity).weigher(weigh).build();
        Self { shelves, shelf_size, texts, looks: Looks::default() }
    }

    /// Those that are cached, and the ids of those that are to be read.
    fn find<K: Kind + Eq + Hash>(&self, owner: Uuid, ids: HashSet<Id<K>>, at: Count) -> (Found<K, M>, Vec<Id<K>>) {
        let shelf = self.shelves.get(&owner).filter(|shelf| shelf.at == at);
        let (mut found, mut missing) = (HashMap::with_capacity(ids.len()), Vec::new());
        let rows = shelf.as_ref().map(|shelf| shelf.rows.read().unwrap_or_else(PoisonError::into_inner));
        for id in ids {
            match rows.as_ref().and_then(|rows| rows.get(&id.uuid())) {
                Some(row) => _ = found.insert(id, row.clone()),
                None => missing.push(id),
            }
        }
        self.looks.count(missing.is_empty().then_some(()));
        (found, missing)
    }

    /// Keeps rows that one statement read at this count.
    fn keep(&self, owner: Uuid, read: impl Iterator<Item = (Uuid, Arc<M>)>, at: Count) {
        let present = self.shelves.get(&owner);
        // Another read later, and was sooner here.
        if present.as_ref().is_some_and(|shelf| shelf.at > at) {
            return;
        }
        let shelf = present.filter(|shelf| shelf.at == at && shelf.bytes.load(Ordering::Relaxed) < self.shelf_size);
        let shelf =
            shelf.unwrap_or_else(|| Arc::new(Shelf { at, rows: RwLock::default(), bytes: AtomicUsize::new(0) }));
        let mut rows = shelf.rows.write().unwrap_or_else(PoisonError::into_inner);
        for (id, row) in read {
            let bytes = OVERHEAD + (self.texts)(&row);
            if rows.insert(id, row).is_none() {
                shelf.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        drop(rows);
        // Again where it is there already: so it is weighed anew.
        self.shelves.insert(owner, shelf);
    }
}

impl Db {
    fn count(&self, changes: i64) -> Count {
        Count { epoch: self.epoch(), changes }
    }

    /// How the caches of what rows refer to are used.
    pub fn reference_cache_uses(&self) -> [CacheUse; 3] {
        let References { tags, teams, people } = self.references();
        [
            tags.looks.with(&tags.shelves, "tags", Measure::Bytes),
            teams.looks.with(&teams.shelves, "teams", Measure::Bytes),
            people.looks.with(&people.shelves, "people", Measure::Bytes),
        ]
    }
}

impl OrgScope {
    /// Tags of the organization as they are, or were when `version` was read. One statement, or none.
    pub async fn tags_at(
        &self,
        ids: HashSet<TagId>,
        version: ReferenceVersion,
    ) -> Result<HashMap<TagId, Arc<tag::Model>>> {
        self.rows_at::<tag::Entity>(&self.db().references().tags, ids, version).await
    }

    /// Teams of the organization in the same way.
    pub async fn teams_at(
        &self,
        ids: HashSet<TeamId>,
        version: ReferenceVersion,
    ) -> Result<HashMap<TeamId, Arc<team::Model>>> {
        self.rows_at::<team::Entity>(&self.db().references().teams, ids, version).await
    }

    async fn rows_at<E: Keyed<Kind: Eq + Hash>>(
        &self,
        cache: &Rows<E::Model>,
        ids: HashSet<Id<E::Kind>>,
        version: ReferenceVersion,
    ) -> Result<Found<E::Kind, E::Model>> {
        let owner = self.organization_id().uuid();
        let (mut found, missing) = cache.find(owner, ids, self.db().count(version.organization));
        if missing.is_empty() {
            return Ok(found);
        }
        let (connection, organization, select) = self.find::<E>().filter(among(self.db(), E::ID, missing)).into_parts();
        let [count, _] = ReferenceVersion::selected(organization);
        let (read, changes) = counted::<E>(connection, select, count).await?;
        let read: Vec<_> = read.into_iter().map(|row| (E::id(&row), Arc::new(row))).collect();
        cache.keep(owner, read.iter().map(|(id, row)| (id.uuid(), row.clone())), self.db().count(changes));
        found.extend(read);
        Ok(found)
    }

    /// People that rows of the organization name, in the same way.
    pub async fn people_at(
        &self,
        ids: HashSet<UserId>,
        version: ReferenceVersion,
    ) -> Result<HashMap<UserId, Arc<user::Model>>> {
        let (references, owner) = (self.db().references(), self.organization_id().uuid());
        let (mut found, missing) = references.people.find(owner, ids, self.db().count(version.people));
        if missing.is_empty() {
            return Ok(found);
        }
        let select = self.db().find::<user::Entity>().filter(among(self.db(), user::Column::Id, missing));
        let [_, count] = ReferenceVersion::selected(self.organization_id());
        let (read, changes) = counted::<user::Entity>(self.db().reader(), select, count).await?;
        let read: Vec<_> = read.into_iter().map(|row| (row.id, Arc::new(row))).collect();
        references.people.keep(owner, read.iter().map(|(id, row)| (id.uuid(), row.clone())), self.db().count(changes));
        found.extend(read);
        Ok(found)
    }
}

/// Rows, and the count of changes that was read with them.
async fn counted<E: Decode>(
    connection: &Connections,
    select: Select<E>,
    count: SimpleExpr,
) -> Result<(Vec<E::Model>, i64)> {
    let place = E::Column::iter().count();
    let rows = connection.query_all(select.expr_as(count, "changes").as_query()).await.map_err(fail)?;
    let changes = rows.first().map_or(Ok(0), |row| row.try_get_by_index(place)).map_err(fail)?;
    let rows = rows.iter().map(|row| E::decode(row, "", 0)).collect::<Result<_, _>>().map_err(fail)?;
    Ok((rows, changes))
}
