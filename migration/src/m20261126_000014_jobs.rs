//! Durable jobs: what a change leaves to be done in chunks. What is being removed is marked, so that it is gone for
//! everybody while a job still takes it off what refers to it.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let of_organization = ForeignKey::create()
        .name("fk_job_organization")
        .from("job", "organization_id")
        .to("organization", "id")
        .on_delete(ForeignKeyAction::Cascade)
        .take();
    manager
        .create_table(
            Table::create()
                .table("job")
                .col(uuid("id").primary_key())
                .col(uuid_null("organization_id"))
                .col(text("kind"))
                .col(ColumnDef::new("payload").json().not_null())
                .col(uuid_null("subject_id"))
                .col(ordinal("actor_kind"))
                .col(uuid("actor_id"))
                .col(instant("created_at"))
                .col(instant("run_at"))
                .col(count("attempts"))
                .col(text_null("last_error"))
                .col(instant_null("failed_at"))
                .col(ColumnDef::new("lease").big_integer().not_null().default(0))
                .col(ColumnDef::new("leased_until").big_integer().not_null().default(0))
                .foreign_key(&mut of_organization.clone())
                .take(),
        )
        .await?;
    manager.create_index(index("job", &["organization_id", "id"])).await?;
    manager.create_index(index("job", &["run_at"])).await?;
    for table in ["tag", "team", "membership"] {
        manager.alter_table(Table::alter().table(table).add_column(instant_null("removed_at")).take()).await?;
    }
    // Trees in the trash, by what took them there.
    manager
        .get_connection()
        .execute_unprepared(
            "CREATE INDEX ix_item_deletion ON item (organization_id, deletion_id) WHERE deletion_id IS NOT NULL",
        )
        .await?;
    Ok(())
}
