//! Founding, changing and deleting organizations.

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, IntoActiveModel, prelude::*};

use super::input::{OrganizationCreateInput, OrganizationDeleteInput, OrganizationUpdateInput};
use crate::{
    auth::{
        actor::{Origin, Person},
        policy::Permission,
    },
    db::{AccountTx, Committed, OrgScope},
    entity::{
        enums::{MembershipStatus, Role},
        membership, organization,
    },
    error::{Problem, ProblemCode, Rejected, Result},
    id::OrganizationId,
    ledger::{EventType, Fields, NewEvent, changes},
    members,
    state::State,
};

/// The fields that events show.
fn fields(row: &organization::Model) -> Fields {
    vec![
        ("name", row.name.as_str().into()),
        ("slug", row.slug.as_str().into()),
        ("itemPrefix", row.item_prefix.as_str().into()),
        ("timeZone", row.time_zone.as_str().into()),
    ]
}

fn slug_taken(path: &[&str]) -> Problem {
    Problem::new(ProblemCode::Taken, path, "The slug is in use.")
}

/// Founds an organization; the caller becomes its owner.
pub async fn create(
    state: &State,
    origin: &Origin,
    person: &Person,
    input: &OrganizationCreateInput,
) -> Result<Committed<organization::Model>> {
    input.validate()?;
    let now = state.clock().now();
    let tx = AccountTx::begin(&state.db, origin).await?;
    let id = input.id.unwrap_or_else(|| state.clock().new_id());
    if input.id.is_some() && !tx.find::<organization::Entity>(organization::Column::Id.eq(id)).await?.is_empty() {
        return Err(Problem::new(ProblemCode::Taken, &["input", "id"], "The id is in use.").into());
    }
    if !tx.find::<organization::Entity>(organization::Column::Slug.eq(input.slug.as_str())).await?.is_empty() {
        return Err(slug_taken(&["input", "slug"]).into());
    }
    let row = organization::ActiveModel {
        id: Set(id),
        name: Set(input.name.trim().to_owned()),
        slug: Set(input.slug.clone()),
        item_prefix: Set(input.prefix()),
        time_zone: Set(input.time_zone.clone()),
        plan_tier: Set(state.config.plans.default),
        created_at: Set(now),
        updated_at: Set(now),
        version: Set(1),
    };
    let mut tx = tx.found(person.user.id, row).await?;
    let owner = tx
        .insert(membership::ActiveModel {
            id: Set(state.clock().new_id()),
            user_id: Set(person.user.id),
            role: Set(Role::Owner),
            status: Set(MembershipStatus::Active),
            joined_at: Set(now),
            last_active_at: Set(Some(now)),
            version: Set(1),
            ..Default::default()
        })
        .await?;
    let organization = tx.scope().organization().clone();
    let created = changes(None, Some(&fields(&organization)));
    tx.record(NewEvent::new(EventType::OrganizationCreated, organization.id.any(), created));
    let joined = changes(None, Some(&members::service::fields(&owner)));
    tx.record(NewEvent::new(EventType::MemberJoined, owner.id.any(), joined));
    tx.commit(organization).await
}

pub async fn update(
    scope: &OrgScope,
    input: &OrganizationUpdateInput,
) -> Result<Committed<organization::Model>, Rejected<organization::Model>> {
    input.validate()?;
    let mut tx = scope.write(Permission::OrganizationManage).await?;
    let before = tx.lock_organization().await?;
    if input.if_version.is_some_and(|version| version != before.version) {
        let version = before.version;
        return Err(Rejected::conflict(before, version));
    }
    let mut after = before.clone();
    input.patch.clone().apply(&mut after);
    let changed = changes(Some(&fields(&before)), Some(&fields(&after)));
    if changed.is_empty() {
        return Ok(tx.commit(before).await?);
    }
    if after.slug != before.slug {
        let same = organization::Column::Slug.eq(after.slug.as_str());
        if !tx.find_global::<organization::Entity>(same).await?.is_empty() {
            return Err(slug_taken(&["input", "patch", "slug"]).into());
        }
    }
    after.version += 1;
    after.updated_at = scope.clock().now();
    let after = tx.update_organization(after.into_active_model().reset_all()).await?;
    tx.record(NewEvent::new(EventType::OrganizationUpdated, after.id.any(), changed));
    Ok(tx.commit(after).await?)
}

/// Deletes the organization and all that is in it, for good.
pub async fn delete(scope: &OrgScope, input: &OrganizationDeleteInput) -> Result<Committed<OrganizationId>> {
    let tx = scope.write(Permission::OrganizationDelete).await?;
    let organization = tx.lock_organization().await?;
    if input.confirm_slug != organization.slug {
        let message = "Type the organization's slug to confirm.";
        return Err(Problem::new(ProblemCode::Invalid, &["input", "confirmSlug"], message).into());
    }
    tx.delete_organization().await?;
    // Its ledger went with it, so the log is where this stays.
    tracing::warn!(organization = %organization.id, actor = %scope.actor().any_id(), "an organization was deleted");
    Ok(Committed { value: organization.id, cursor: None })
}
