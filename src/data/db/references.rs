//! Tags, teams and people that rows of an organization refer to, cached: page after page names the same few.
//!
//! How often they have changed is counted in the database, by its own triggers. The statement that reads a page reads these
//! counts along ([`ReferenceVersion`]), and an entry is used only where it was read at the very same count. So nobody is
//! shown what was already changed when their page was read, whichever instance changed it, and nothing is asked more.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
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
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        Self {
            tags: Rows::new(capacity / 4, |tag: &tag::Model| tag.name.len() + tag.name_key.len()),
            teams: Rows::new(capacity / 4, move |team: &team::Model| {
                team.name.len() + team.name_key.len() + text(&team.description)
            }),
            people: Rows::new(capacity / 2, move |user: &user::Model| {
                2 * (user.email.len() + user.username.len() + text(&user.full_name)) + text(&user.avatar_url)
            }),
        }
    }
}

/// Rows of one table by organization (none for people) and id.
#[derive(Debug)]
struct Rows<M: Send + Sync + 'static> {
    kept: Cache<(Uuid, Uuid), Kept<M>>,
    looks: Looks,
}

#[derive(Debug)]
struct Kept<M> {
    row: Arc<M>,
    at: Count,
}

impl<M> Clone for Kept<M> {
    fn clone(&self) -> Self {
        Self { row: self.row.clone(), at: self.at }
    }
}

/// A count of changes; the life of the database is part of it, since a restored one counts again from an earlier count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    epoch: u32,
    changes: i64,
}

impl<M: Send + Sync + 'static> Rows<M> {
    fn new(capacity: u64, texts: impl Fn(&M) -> usize + Send + Sync + 'static) -> Self {
        let weigh =
            move |_: &(Uuid, Uuid), kept: &Kept<M>| u32::try_from(texts(&kept.row) + OVERHEAD).unwrap_or(u32::MAX);
        Self { kept: Cache::builder().max_capacity(capacity).weigher(weigh).build(), looks: Looks::default() }
    }

    /// Those that are cached, and the ids of those that are to be read.
    fn find<K: Kind + Eq + Hash>(
        &self,
        owner: Uuid,
        ids: HashSet<Id<K>>,
        at: Count,
    ) -> (HashMap<Id<K>, Arc<M>>, Vec<Id<K>>) {
        let (mut found, mut missing) = (HashMap::with_capacity(ids.len()), Vec::new());
        for id in ids {
            match self.looks.count(self.kept.get(&(owner, id.uuid())).filter(|kept| kept.at == at)) {
                Some(kept) => _ = found.insert(id, kept.row),
                None => missing.push(id),
            }
        }
        (found, missing)
    }

    fn keep(&self, owner: Uuid, id: Uuid, row: Arc<M>, at: Count) {
        self.kept.insert((owner, id), Kept { row, at });
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
            tags.looks.with(&tags.kept, "tags", Measure::Bytes),
            teams.looks.with(&teams.kept, "teams", Measure::Bytes),
            people.looks.with(&people.kept, "people", Measure::Bytes),
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
    ) -> Result<HashMap<Id<E::Kind>, Arc<E::Model>>> {
        let owner = self.organization_id().uuid();
        let (mut found, missing) = cache.find(owner, ids, self.db().count(version.organization));
        if missing.is_empty() {
            return Ok(found);
        }
        let (connection, organization, select) = self.find::<E>().filter(among(self.db(), E::ID, missing)).into_parts();
        let [count, _] = ReferenceVersion::selected(organization);
        for (row, changes) in counted::<E>(connection, select, count).await? {
            let (id, row) = (E::id(&row), Arc::new(row));
            cache.keep(owner, id.uuid(), row.clone(), self.db().count(changes));
            found.insert(id, row);
        }
        Ok(found)
    }

    /// People that rows of the organization name, in the same way.
    pub async fn people_at(
        &self,
        ids: HashSet<UserId>,
        version: ReferenceVersion,
    ) -> Result<HashMap<UserId, Arc<user::Model>>> {
        let (references, owner) = (self.db().references(), Uuid::nil());
        let (mut found, missing) = references.people.find(owner, ids, self.db().count(version.people));
        if missing.is_empty() {
            return Ok(found);
        }
        let select = self.db().find::<user::Entity>().filter(among(self.db(), user::Column::Id, missing));
        let [_, count] = ReferenceVersion::selected(self.organization_id());
        for (row, changes) in counted::<user::Entity>(self.db().reader(), select, count).await? {
            let (id, row) = (row.id, Arc::new(row));
            references.people.keep(owner, id.uuid(), row.clone(), self.db().count(changes));
            found.insert(id, row);
        }
        Ok(found)
    }
}

/// Rows with the count of changes that was read with them.
async fn counted<E: Decode>(
    connection: &Connections,
    select: Select<E>,
    count: SimpleExpr,
) -> Result<Vec<(E::Model, i64)>> {
    let place = E::Column::iter().count();
    let rows = connection.query_all(select.expr_as(count, "changes").as_query()).await.map_err(fail)?;
    rows.iter()
        .map(|row| Ok((E::decode(row, "", 0)?, row.try_get_by_index(place)?)))
        .collect::<Result<_, _>>()
        .map_err(fail)
}
