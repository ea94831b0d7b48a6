use sea_orm::entity::prelude::*;

/// Written and deleted within one transaction, to find out whether the store takes writes; always empty to others.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "store_probe")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub filler: Vec<u8>,
}

table!(global);
