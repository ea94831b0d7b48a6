//! Values sealed under the server's secret, and keyed hashes, of all organizations: for sealing them anew after `SECRET_KEY`
//! was changed. What is written has changed meanwhile, or is replaced: a value is compared before.

use sea_orm::{
    ConnectionTrait as _, ExprTrait as _,
    prelude::*,
    sea_query::{Alias, Order, Query},
};

use super::{Db, fail};
use crate::{
    base::{
        error::{Error, Result},
        id::OrganizationId,
        secret::SealedColumn,
    },
    data::entity::api_key,
};

/// Values read and replaced at once.
const CHUNK: u64 = 500;

/// A sealed value of an organization's row.
#[derive(Clone, Debug)]
pub struct SealedValue {
    pub organization: OrganizationId,
    pub id: Uuid,
    pub sealed: Vec<u8>,
}

/// Table and column of a column's name.
fn parts(column: SealedColumn) -> Result<(Alias, Alias)> {
    let (table, name) = column.name.split_once('.').ok_or_else(|| Error::internal("a column without a table"))?;
    Ok((Alias::new(table), Alias::new(name)))
}

impl Db {
    /// The next few values of a tenants' column, by organization and id.
    pub async fn sealed_values(&self, column: SealedColumn, after: Option<&SealedValue>) -> Result<Vec<SealedValue>> {
        let (table, name) = parts(column)?;
        let (organization, id) = (Alias::new("organization_id"), Alias::new("id"));
        let mut query = Query::select();
        query.columns([organization.clone(), id.clone(), name.clone()]).from(table);
        query.and_where(Expr::col(name.clone()).is_not_null());
        if let Some(after) = after {
            let same =
                Expr::col(organization.clone()).eq(after.organization.uuid()).and(Expr::col(id.clone()).gt(after.id));
            query.and_where(Expr::col(organization.clone()).gt(after.organization.uuid()).or(same));
        }
        query.order_by(organization, Order::Asc).order_by(id, Order::Asc).limit(CHUNK);
        let rows = self.reader().query_all(&query).await.map_err(fail)?;
        let read = |row: &sea_orm::QueryResult| {
            Ok(SealedValue {
                organization: row.try_get_by_index(0)?,
                id: row.try_get_by_index(1)?,
                sealed: row.try_get_by_index(2)?,
            })
        };
        rows.iter().map(read).collect::<std::result::Result<_, DbErr>>().map_err(fail)
    }

    /// Puts new values in the place of old ones, those that are still there, in one transaction; says how many.
    pub async fn replace_sealed(&self, column: SealedColumn, changes: &[(SealedValue, Vec<u8>)]) -> Result<u64> {
        let (table, name) = parts(column)?;
        let tx = self.begin().await?;
        let mut replaced = 0;
        for (old, new) in changes {
            let mut update = Query::update();
            update.table(table.clone()).value(name.clone(), new.clone());
            update.and_where(Expr::col(Alias::new("organization_id")).eq(old.organization.uuid()));
            update.and_where(Expr::col(Alias::new("id")).eq(old.id));
            update.and_where(Expr::col(name.clone()).eq(old.sealed.clone()));
            replaced += tx.execute(&update).await.map_err(fail)?.rows_affected();
        }
        tx.commit().await?;
        Ok(replaced)
    }

    /// Keeps an API key's hash under the present secret, unless it was changed meanwhile.
    pub async fn rehash_key(&self, key: &api_key::Model, hash: &[u8], secret_id: &[u8]) -> Result<()> {
        use api_key::{Column, Entity};
        let tx = self.begin().await?;
        #[allow(clippy::disallowed_methods, reason = "one key, by its organization and id")]
        let update = Entity::update_many()
            .col_expr(Column::SecretHash, Expr::value(hash.to_vec()))
            .col_expr(Column::HashSecretId, Expr::value(secret_id.to_vec()))
            .filter(Column::OrganizationId.eq(key.organization_id))
            .filter(Column::Id.eq(key.id))
            .filter(Column::SecretHash.eq(key.secret_hash.clone()));
        update.exec(&tx).await.map_err(fail)?;
        tx.commit().await?;
        // Otherwise what is remembered of the key would have it hashed again.
        self.forget_identities();
        Ok(())
    }

    /// Live API keys whose hash is not known to be under this secret.
    pub async fn keys_hashed_before(&self, secret_id: &[u8]) -> Result<u64> {
        use api_key::{Column, Entity};
        let other = Column::HashSecretId.is_null().or(Column::HashSecretId.ne(secret_id.to_vec()));
        #[allow(clippy::disallowed_methods, reason = "the operator's look at all organizations: a number")]
        let left = Entity::find().filter(Column::RevokedAt.is_null()).filter(other);
        left.count(self.reader()).await.map_err(fail)
    }
}
