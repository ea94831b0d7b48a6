//! What a plan limits is counted in the ledger's head, beside the plan itself: whoever takes a place holds its lock.

use sea_orm_migration::prelude::*;

/// A head that the previous release makes meanwhile has no plan of its own: the highest refuses nothing.
const PLAN: &str = "ENTERPRISE";

/// What is there already. Writes of the previous release, should it still run, are not counted.
const COUNT: &str = "UPDATE ledger_head SET
    plan_tier = (SELECT plan_tier FROM organization WHERE organization.id = ledger_head.organization_id),
    member_count = (SELECT count(*) FROM membership
        WHERE membership.organization_id = ledger_head.organization_id),
    item_count = (SELECT count(*) FROM item
        WHERE item.organization_id = ledger_head.organization_id AND item.deleted_at IS NULL),
    api_key_count = (SELECT count(*) FROM api_key
        WHERE api_key.organization_id = ledger_head.organization_id AND api_key.revoked_at IS NULL)";

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let plan = ColumnDef::new("plan_tier").text().not_null().default(PLAN).take();
    let count = |name: &'static str| ColumnDef::new(name).big_integer().not_null().default(0).take();
    // SQLite adds one column at a time.
    for column in [plan, count("member_count"), count("item_count"), count("api_key_count")] {
        manager.alter_table(Table::alter().table("ledger_head").add_column(column).take()).await?;
    }
    manager.get_connection().execute_unprepared(COUNT).await?;
    Ok(())
}
