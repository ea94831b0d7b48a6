use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_graphql::dataloader::Loader;

use super::query::live;
use crate::{
    base::id::{SecurityEventId, SessionId, UserId},
    data::{
        db::{OrgScope, ReferenceVersion, filter::among},
        entity::{security_event, session, user},
    },
    graphql::loaders::{LoadError, ScopedLoader},
};
/// The caller's own live sessions; nobody else's, and none for an API key.
pub struct OwnSessions(OrgScope);

impl ScopedLoader for OwnSessions {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<SessionId> for OwnSessions {
    type Value = session::Model;
    type Error = LoadError;

    async fn load(&self, ids: &[SessionId]) -> Result<HashMap<SessionId, session::Model>, LoadError> {
        let (db, Some(user_id)) = (self.0.db(), self.0.user_id()) else { return Ok(HashMap::new()) };
        let named = live(db, user_id).add(among(db, session::Column::Id, ids.iter().copied()));
        let rows = db.find_global::<session::Entity>(named).await?;
        Ok(rows.into_iter().map(|row| (row.id, row)).collect())
    }
}

/// The caller's own security events; nobody else's, and none for an API key.
pub struct OwnSecurityEvents(OrgScope);

impl ScopedLoader for OwnSecurityEvents {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<SecurityEventId> for OwnSecurityEvents {
    type Value = security_event::Model;
    type Error = LoadError;

    async fn load(
        &self,
        ids: &[SecurityEventId],
    ) -> Result<HashMap<SecurityEventId, security_event::Model>, LoadError> {
        use sea_orm::{ColumnTrait, ExprTrait as _};
        let (db, Some(user_id)) = (self.0.db(), self.0.user_id()) else { return Ok(HashMap::new()) };
        let own = security_event::Column::UserId.eq(user_id);
        let named = own.and(among(db, security_event::Column::Id, ids.iter().copied()));
        let rows = db.find_global::<security_event::Entity>(named).await?;
        Ok(rows.into_iter().map(|row| (row.id, row)).collect())
    }
}

/// People named by rows of the organization: members, and those who were.
pub struct Users(OrgScope);

impl ScopedLoader for Users {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<UserId> for Users {
    type Value = Arc<user::Model>;
    type Error = LoadError;

    async fn load(&self, ids: &[UserId]) -> Result<HashMap<UserId, Arc<user::Model>>, LoadError> {
        let rows =
            self.0.db().find_global::<user::Entity>(among(self.0.db(), user::Column::Id, ids.iter().copied())).await?;
        Ok(rows.into_iter().map(|row| (row.id, Arc::new(row))).collect())
    }
}

/// People that rows of the organization name, as of what was read with those rows: from the cache, and the others of a
/// request together.
pub struct PeopleAt(OrgScope);

impl ScopedLoader for PeopleAt {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<(UserId, ReferenceVersion)> for PeopleAt {
    type Value = Arc<user::Model>;
    type Error = LoadError;

    async fn load(
        &self,
        keys: &[(UserId, ReferenceVersion)],
    ) -> Result<HashMap<(UserId, ReferenceVersion), Arc<user::Model>>, LoadError> {
        let mut at: HashMap<ReferenceVersion, HashSet<UserId>> = HashMap::new();
        for (id, version) in keys {
            at.entry(*version).or_default().insert(*id);
        }
        let mut found = HashMap::with_capacity(keys.len());
        for (version, ids) in at {
            let people = self.0.people_at(ids, version).await?;
            found.extend(people.into_iter().map(|(id, person)| ((id, version), person)));
        }
        Ok(found)
    }
}
