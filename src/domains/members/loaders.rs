use std::collections::HashMap;

use async_graphql::dataloader::Loader;

use crate::{
    base::id::UserId,
    data::{
        db::{OrgScope, filter::among},
        entity::membership,
    },
    graphql::loaders::{LoadError, ScopedLoader},
};

/// The membership of a person in this organization.
pub struct MembershipOfUser(OrgScope);

impl ScopedLoader for MembershipOfUser {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<UserId> for MembershipOfUser {
    type Value = membership::Model;
    type Error = LoadError;

    async fn load(&self, ids: &[UserId]) -> Result<HashMap<UserId, membership::Model>, LoadError> {
        let of_users = among(self.0.db(), membership::Column::UserId, ids.iter().copied());
        let rows = self.0.find::<membership::Entity>().filter(of_users).all().await?;
        Ok(rows.into_iter().map(|row| (row.user_id, row)).collect())
    }
}
