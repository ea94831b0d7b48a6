use sea_orm::entity::prelude::*;

/// How often what people show of themselves has changed: one row, which the database's own triggers raise.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "profile_revision")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i16,
    pub revision: i64,
}

table!();
