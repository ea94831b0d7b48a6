//! Column and key shapes that the steps share.

use sea_orm_migration::prelude::*;

/// 16 bytes: `uuid` on PostgreSQL, a blob on SQLite.
pub fn uuid(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).uuid().not_null().take()
}

pub fn uuid_null(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).uuid().null().take()
}

pub fn text(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().not_null().take()
}

pub fn text_null(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().null().take()
}

/// Text that is compared and sorted by code points on both databases, whatever the language of PostgreSQL's cluster.
pub fn sort_key(manager: &SchemaManager, name: &'static str) -> ColumnDef {
    let mut column = text(name);
    if manager.get_database_backend() == sea_orm_migration::sea_orm::DbBackend::Postgres {
        column.extra("COLLATE \"C\"");
    }
    column
}

pub fn instant(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).timestamp_with_time_zone().not_null().take()
}

pub fn instant_null(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).timestamp_with_time_zone().null().take()
}

/// An enumeration whose declaration order is its sort order.
pub fn ordinal(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).small_integer().not_null().take()
}

pub fn count(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).integer().not_null().default(0).take()
}

/// Rises by one with each change.
pub fn version() -> ColumnDef {
    ColumnDef::new("version").integer().not_null().default(1).take()
}

/// A table of a tenant: `organization_id` first, rows gone with their organization.
pub fn tenant_table(name: &'static str) -> TableCreateStatement {
    Table::create()
        .table(name)
        .col(uuid("organization_id"))
        .foreign_key(
            ForeignKey::create()
                .name(format!("fk_{name}_organization"))
                .from(name, "organization_id")
                .to("organization", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .take()
}

/// A tenant's table whose rows have an id of their own: the key is `(organization_id, id)`.
pub fn tenant_objects(name: &'static str) -> TableCreateStatement {
    tenant_table(name).col(uuid("id")).primary_key(&mut primary_key(&["organization_id", "id"])).take()
}

pub fn primary_key(columns: &[&'static str]) -> IndexCreateStatement {
    let mut key = Index::create();
    for column in columns {
        key.col(*column);
    }
    key.primary().take()
}

/// `(organization_id, column)` → `table (organization_id, id or target)`.
pub fn tenant_reference(
    from: &'static str,
    column: &'static str,
    table: &'static str,
    target: &'static str,
    on_delete: ForeignKeyAction,
) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("fk_{from}_{column}"))
        .from(from, ("organization_id", column))
        .to(table, ("organization_id", target))
        .on_delete(on_delete)
        .take()
}

pub fn index(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create().name(format!("ix_{table}_{}", columns.join("_"))).table(table).take();
    for column in columns {
        index.col(*column);
    }
    index
}

pub fn unique(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create().name(format!("ux_{table}_{}", columns.join("_"))).table(table).take();
    for column in columns {
        index.col(*column);
    }
    index.unique().take()
}
