//! One organization as it is at one moment: a transaction that reads, in pages by key, so that what is held does not grow
//! with the organization. PostgreSQL: REPEATABLE READ; SQLite: a reader beside the write-ahead log. Nobody waits for it.

use sea_orm::{
    AccessMode, DatabaseBackend, DatabaseTransaction, ExprTrait as _, FromQueryResult, IsolationLevel, Iterable as _,
    ModelTrait as _, PrimaryKeyToColumn as _, QueryOrder as _, QuerySelect as _, TransactionOptions,
    TransactionTrait as _, prelude::*, sea_query::SimpleExpr,
};
use serde::Serialize;

use super::{Db, fail, pool::Lease};
use crate::{
    base::{
        error::Result,
        id::{OrganizationId, UserId},
    },
    data::entity::{Tenant, membership, organization, user},
};

/// Rows that are read at once.
const PAGE: u64 = 500;

/// Whoever is a member, as far as fellow members know them.
#[derive(Clone, Debug, Serialize, FromQueryResult)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    pub id: UserId,
    pub username: String,
    pub full_name: Option<String>,
    pub email: String,
    pub avatar_url: Option<String>,
    pub time_zone: String,
}

/// An organization's rows, as they were when the first was read.
pub struct Snapshot {
    tx: DatabaseTransaction,
    organization_id: OrganizationId,
    /// Given back once the transaction is over.
    lease: Lease,
}

impl Db {
    /// Begins to read all of an organization. For whoever runs the server: nobody's rights are asked.
    pub async fn snapshot(&self, organization_id: OrganizationId) -> Result<Snapshot> {
        let lease = self.reader().lease().await.map_err(fail)?;
        let is_postgres = self.backend() == DatabaseBackend::Postgres;
        let options = TransactionOptions {
            isolation_level: is_postgres.then_some(IsolationLevel::RepeatableRead),
            access_mode: is_postgres.then_some(AccessMode::ReadOnly),
            ..Default::default()
        };
        let tx = lease.pooled().begin_with_options(options).await.map_err(fail)?;
        Ok(Snapshot { tx, organization_id, lease })
    }
}

impl Snapshot {
    /// The organization itself; `None` when it is gone.
    pub async fn organization(&self) -> Result<Option<organization::Model>> {
        #[allow(clippy::disallowed_methods, reason = "the organization is named")]
        let own = organization::Entity::find().filter(organization::Column::Id.eq(self.organization_id));
        Ok(self.read(own.into_model()).await?.pop())
    }

    /// The rows of a table that follow a row, by the primary key; from the first on without one. None: there are no more.
    pub async fn rows_after<E>(&self, last: Option<&E::Model>) -> Result<Vec<E::Model>>
    where
        E: Tenant,
        E::Model: FromQueryResult,
    {
        let organization = E::ORGANIZATION.to_string();
        let key = E::PrimaryKey::iter().map(|column| column.into_column());
        let key: Vec<E::Column> = key.filter(|column| column.to_string() != organization).collect();
        #[allow(clippy::disallowed_methods, reason = "the organization is named")]
        let mut page = E::find().filter(E::ORGANIZATION.eq(self.organization_id)).limit(PAGE);
        if let Some(last) = last.filter(|_| !key.is_empty()) {
            let columns = key.iter().map(|column| Expr::col(column.as_column_ref()));
            let values = key.iter().map(|column| SimpleExpr::from(last.get(*column)));
            page = page.filter(Expr::tuple(columns).gt(Expr::tuple(values)));
        } else if last.is_some() {
            // One row an organization.
            return Ok(Vec::new());
        }
        for column in key {
            page = page.order_by_asc(column);
        }
        self.read(page.into_model()).await
    }

    /// Members who follow a person, by id.
    pub async fn people_after(&self, last: Option<UserId>) -> Result<Vec<Person>> {
        #[allow(clippy::disallowed_methods, reason = "the organization is named")]
        let members = membership::Entity::find()
            .select_only()
            .column(membership::Column::UserId)
            .filter(membership::Column::OrganizationId.eq(self.organization_id))
            .filter(membership::Column::RemovedAt.is_null());
        #[allow(clippy::disallowed_methods, reason = "members of the organization that is named")]
        let mut page = user::Entity::find()
            .filter(user::Column::Id.in_subquery(sea_orm::QueryTrait::into_query(members)))
            .order_by_asc(user::Column::Id)
            .limit(PAGE);
        if let Some(last) = last {
            page = page.filter(user::Column::Id.gt(last));
        }
        self.read(page.into_model()).await
    }

    async fn read<M: FromQueryResult>(&self, page: sea_orm::Selector<sea_orm::SelectModel<M>>) -> Result<Vec<M>> {
        self.lease.run(self.lease.text("a page of an export"), page.all(&self.tx)).await.map_err(fail)
    }

    /// Ends it; the connection goes back.
    pub async fn close(self) -> Result<()> {
        let Self { tx, lease, .. } = self;
        tx.rollback().await.map_err(fail)?;
        drop(lease);
        Ok(())
    }
}
