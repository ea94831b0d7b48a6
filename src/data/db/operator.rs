//! What the operator of the server sees across organizations: figures, never content.

use sea_orm::{
    EntityTrait, FromQueryResult, JoinType, QueryOrder, QueryResult, QuerySelect, prelude::*, sea_query::IntoCondition,
};

use super::{Db, fail, identity::with_columns};
use crate::{
    base::error::Result,
    data::entity::{ledger_head, organization},
};

/// An organization, with what is counted of it.
#[derive(Clone, Debug)]
pub struct Overview {
    pub organization: organization::Model,
    pub head: ledger_head::Model,
}

impl FromQueryResult for Overview {
    fn from_query_result(row: &QueryResult, _: &str) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            organization: organization::Model::from_query_result(row, "o_")?,
            head: ledger_head::Model::from_query_result(row, "h_")?,
        })
    }
}

impl Db {
    /// Every organization that matches, by slug.
    pub async fn overviews(&self, condition: impl IntoCondition) -> Result<Vec<Overview>> {
        let head = organization::Entity::belongs_to(ledger_head::Entity)
            .from(organization::Column::Id)
            .to(ledger_head::Column::OrganizationId);
        let select = self
            .find::<organization::Entity>()
            .filter(condition.into_condition())
            .select_only()
            .join(JoinType::InnerJoin, head.into())
            .order_by_asc(organization::Column::Slug);
        let select = with_columns::<_, organization::Entity>(select, "o_");
        let select = with_columns::<_, ledger_head::Entity>(select, "h_");
        select.into_model::<Overview>().all(self.reader()).await.map_err(fail)
    }
}
