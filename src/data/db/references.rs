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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

/// Rows of one table by organization (of people: the one that named them) and id. Those of one organization are one entry
/// of the cache: a page looks for dozens, at the same count.
#[derive(Debug)]
struct Rows<M: Send + Sync + 'static> {
    entries: Cache<Uuid, Arc<Entry<M>>>,
    /// Bytes of one entry at most.
    largest: usize,
    texts: fn(&M) -> usize,
    looks: Looks,
}

/// Rows of an organization as they were at one count.
#[derive(Debug)]
struct Entry<M> {
    at: Count,
    rows: RwLock<HashMap<Uuid, Arc<M>>>,
    bytes: AtomicUsize,
}

/// When tags and teams are known to be there: at a count of their changes.
#[derive(Clone, Copy, Debug)]
pub struct KnownAt(Option<Count>);

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
        let weigh = |_: &Uuid, entry: &Arc<Entry<M>>| {
            u32::try_from(entry.bytes.load(Ordering::Relaxed) + OVERHEAD).unwrap_or(u32::MAX)
        };
        let largest = usize::try_from(capacity / 2).unwrap_or(usize::MAX);
        let entries = Cache::builder().max_capacity(capacity).weigher(weigh).build();
        Self { entries, largest, texts, looks: Looks::default() }
    }

    /// Those that are cached, and the ids of those that are to be read.
    fn find<K: Kind + Eq + Hash>(&self, owner: Uuid, ids: HashSet<Id<K>>, at: Count) -> (Found<K, M>, Vec<Id<K>>) {
        let entry = self.entries.get(&owner).filter(|entry| entry.at == at);
        let (mut found, mut missing) = (HashMap::with_capacity(ids.len()), Vec::new());
        let rows = entry.as_ref().map(|entry| entry.rows.read().unwrap_or_else(PoisonError::into_inner));
        for id in ids {
            match rows.as_ref().and_then(|rows| rows.get(&id.uuid())) {
                Some(row) => _ = found.insert(id, row.clone()),
                None => missing.push(id),
            }
        }
        self.looks.count(missing.is_empty().then_some(()));
        (found, missing)
    }

    /// The count at which all of these were there; the newest that there is of them, where `now` is not said.
    fn known<K: Kind>(&self, owner: Uuid, ids: &HashSet<Id<K>>, now: Option<Count>) -> Option<Count> {
        let entry = self.entries.get(&owner).filter(|entry| now.is_none_or(|now| entry.at == now))?;
        let rows = entry.rows.read().unwrap_or_else(PoisonError::into_inner);
        self.looks.count(ids.iter().all(|id| rows.contains_key(&id.uuid())).then_some(entry.at))
    }

    /// Keeps rows that one statement read at this count, as far as there is room: an entry that is full begins anew.
    fn keep<K: Kind>(&self, owner: Uuid, read: &[(Id<K>, Arc<M>)], at: Count) {
        let present = self.entries.get(&owner);
        // Another read later, and was sooner here.
        if read.is_empty() || present.as_ref().is_some_and(|entry| entry.at > at) {
            return;
        }
        let size = |row: &M| OVERHEAD + (self.texts)(row);
        let all: usize = read.iter().map(|(_, row)| size(row)).sum();
        let has_room = |entry: &Arc<Entry<M>>| entry.bytes.load(Ordering::Relaxed) + all <= self.largest;
        let entry = present.filter(|entry| entry.at == at && has_room(entry));
        let entry =
            entry.unwrap_or_else(|| Arc::new(Entry { at, rows: RwLock::default(), bytes: AtomicUsize::new(0) }));
        let mut rows = entry.rows.write().unwrap_or_else(PoisonError::into_inner);
        for (id, row) in read {
            let bytes = size(row);
            let is_new = !rows.contains_key(&id.uuid());
            if is_new && entry.bytes.load(Ordering::Relaxed) + bytes <= self.largest {
                rows.insert(id.uuid(), row.clone());
                entry.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        drop(rows);
        // Again where it is there already: so it is weighed anew.
        self.entries.insert(owner, entry);
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
            tags.looks.with(&tags.entries, "tags", Measure::Bytes),
            teams.looks.with(&teams.entries, "teams", Measure::Bytes),
            people.looks.with(&people.entries, "people", Measure::Bytes),
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
        found.extend(self.read_at::<E>(cache, missing).await?.0);
        Ok(found)
    }

    /// Reads rows, and keeps them with the count that was read with them; 0 without rows.
    async fn read_at<E: Keyed<Kind: Eq + Hash>>(
        &self,
        cache: &Rows<E::Model>,
        ids: Vec<Id<E::Kind>>,
    ) -> Result<(Vec<(Id<E::Kind>, Arc<E::Model>)>, Count)> {
        let (connection, organization, select) = self.find::<E>().filter(among(self.db(), E::ID, ids)).into_parts();
        let [count, _] = ReferenceVersion::selected(organization);
        let (read, changes) = counted::<E>(connection, select, count).await?;
        let read: Vec<_> = read.into_iter().map(|row| (E::id(&row), Arc::new(row))).collect();
        let at = self.db().count(changes);
        cache.keep(self.organization_id().uuid(), &read, at);
        Ok((read, at))
    }

    /// When all of these are known to be there: see [`OrgScope::holds`]. None: look them up, where it matters that they are
    /// there. One statement for each kind that is not cached.
    pub async fn known_at(&self, teams: &HashSet<TeamId>, tags: &HashSet<TagId>) -> Result<Option<KnownAt>> {
        let References { tags: cached_tags, teams: cached_teams, .. } = self.db().references();
        let of_tags = match tags.is_empty() {
            true => None,
            false => match self.all_known_at::<tag::Entity>(cached_tags, tags, None).await? {
                Some(at) => Some(at),
                None => return Ok(None),
            },
        };
        if teams.is_empty() {
            return Ok(Some(KnownAt(of_tags)));
        }
        let of_teams = self.all_known_at::<team::Entity>(cached_teams, teams, of_tags).await?;
        Ok(of_teams.filter(|at| of_tags.is_none_or(|tags| tags == *at)).map(|at| KnownAt(Some(at))))
    }

    async fn all_known_at<E: Keyed<Kind: Eq + Hash>>(
        &self,
        cache: &Rows<E::Model>,
        ids: &HashSet<Id<E::Kind>>,
        now: Option<Count>,
    ) -> Result<Option<Count>> {
        if let Some(at) = cache.known(self.organization_id().uuid(), ids, now) {
            return Ok(Some(at));
        }
        let (read, at) = self.read_at::<E>(cache, ids.iter().copied().collect()).await?;
        Ok((read.len() == ids.len()).then_some(at))
    }

    /// Whether what was known is still so, by the organization's head: as long as this is locked, nothing changes it. What is
    /// cached and older is forgotten.
    pub fn holds(&self, known: KnownAt, head: &ledger_head::Model) -> bool {
        let (now, owner) = (self.db().count(head.reference_revision), self.organization_id().uuid());
        let holds = known.0.is_none_or(|at| at == now);
        if !holds {
            let References { tags, teams, .. } = self.db().references();
            tags.entries.invalidate(&owner);
            teams.entries.invalidate(&owner);
        }
        holds
    }

    /// Of people that rows of the organization name, those that are cached, and the ids of the others.
    pub fn cached_people(
        &self,
        ids: HashSet<UserId>,
        version: ReferenceVersion,
    ) -> (HashMap<UserId, Arc<user::Model>>, Vec<UserId>) {
        let at = self.db().count(version.people);
        self.db().references().people.find(self.organization_id().uuid(), ids, at)
    }

    /// All of them, in the same way as tags and teams.
    pub async fn people_at(
        &self,
        ids: HashSet<UserId>,
        version: ReferenceVersion,
    ) -> Result<HashMap<UserId, Arc<user::Model>>> {
        let (references, owner) = (self.db().references(), self.organization_id().uuid());
        let (mut found, missing) = self.cached_people(ids, version);
        if missing.is_empty() {
            return Ok(found);
        }
        let select = self.db().find::<user::Entity>().filter(among(self.db(), user::Column::Id, missing));
        let [_, count] = ReferenceVersion::selected(self.organization_id());
        let (read, changes) = counted::<user::Entity>(self.db().reader(), select, count).await?;
        let read: Vec<_> = read.into_iter().map(|row| (row.id, Arc::new(row))).collect();
        references.people.keep(owner, &read, self.db().count(changes));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::kind;

    fn at(changes: i64) -> Count {
        Count { epoch: 0, changes }
    }

    fn row(number: u128, bytes: usize) -> (Id<kind::Tag>, Arc<String>) {
        (Id::from_uuid(Uuid::from_u128(number)), Arc::new("x".repeat(bytes)))
    }

    fn found(rows: &Rows<String>, number: u128, at: Count) -> bool {
        rows.find(Uuid::nil(), HashSet::from([row(number, 0).0]), at).1.is_empty()
    }

    #[test]
    fn rows_are_found_at_the_count_at_which_they_were_read() {
        let rows = Rows::new(100_000, String::len);
        rows.keep(Uuid::nil(), &[row(1, 10)], at(5));
        assert!(found(&rows, 1, at(5)) && !found(&rows, 2, at(5)));
        assert!(!found(&rows, 1, at(4)) && !found(&rows, 1, at(6)));
        rows.keep(Uuid::nil(), &[row(2, 10)], at(4));
        assert!(found(&rows, 1, at(5)) && !found(&rows, 2, at(4)), "what was read earlier takes no later one's place");
        rows.keep(Uuid::nil(), &[row(2, 10)], at(6));
        assert!(found(&rows, 2, at(6)) && !found(&rows, 1, at(6)));
        assert!(!rows.find(Uuid::from_u128(9), HashSet::from([row(2, 0).0]), at(6)).1.is_empty(), "another's");
    }

    #[test]
    fn an_entry_has_a_size() {
        let rows = Rows::new(10_000, String::len);
        let bytes = || rows.entries.get(&Uuid::nil()).map_or(0, |entry| entry.bytes.load(Ordering::Relaxed));
        rows.keep(Uuid::nil(), &(0..100).map(|number| row(number, 100)).collect::<Vec<_>>(), at(1));
        assert_eq!(bytes(), 10 * (OVERHEAD + 100), "as many as there is room for");
        rows.keep(Uuid::nil(), &[row(200, 100)], at(1));
        assert!(found(&rows, 200, at(1)) && !found(&rows, 0, at(1)), "what is full begins anew");
        rows.keep(Uuid::nil(), &[row(201, 1_000_000)], at(1));
        assert!(!found(&rows, 201, at(1)) && bytes() <= 5_000, "a row that is larger than all is not kept");
        let off = Rows::new(0, String::len);
        off.keep(Uuid::nil(), &[row(1, 1)], at(1));
        assert!(!found(&off, 1, at(1)));
    }
}
