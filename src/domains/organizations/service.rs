//! Founding, changing and deleting organizations.

use chrono::TimeDelta;
use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, IntoActiveModel, prelude::*};

use super::input::{OrganizationCreateInput, OrganizationDeleteInput, OrganizationUpdateInput};
use crate::{
    base::{
        enums::Role,
        error::{Problem, ProblemCode, Rejected, Result},
        id::{OrganizationId, UserId},
        policy::Permission,
    },
    data::{
        actor::{Origin, Person},
        db::{AccountTx, Committed, OrgScope, WriteTx, at_version, changed, filter::email_key, id_taken},
        entity::{ActorRef, EventType, Versioned as _, organization, user},
        ledger::{Fields, NewEvent, changes},
    },
    domains::{
        accounts::{self, input::UserRegisterInput},
        members,
    },
    platform::state::State,
};

/// The fields that events show.
fn fields(row: &organization::Model) -> Fields {
    let organization::Model {
        id: _,
        name,
        slug,
        item_prefix,
        time_zone,
        // Changes of the plan have events of their own.
        plan_tier: _,
        plan_renews_at: _,
        created_at: _,
        updated_at: _,
        version: _,
    } = row;
    vec![
        ("name", name.as_str().into()),
        ("slug", slug.as_str().into()),
        ("itemPrefix", item_prefix.as_str().into()),
        ("timeZone", time_zone.as_str().into()),
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
    let tx = AccountTx::begin(&state.db, origin).await?;
    check_foundings(&tx, state, person.user.id).await?;
    let actor = ActorRef::user(person.user.id);
    let mut tx = found(tx, state, actor, input).await?;
    members::service::admit(&mut tx, person.user.id, Role::Owner, Some(state.clock().now())).await?;
    let organization = tx.scope().organization().clone();
    tx.commit(organization).await
}

/// QUOTA_EXCEEDED when a person has founded, or owns, as many organizations as one may. Their row is locked, so that two
/// requests at a time are counted one after the other.
async fn check_foundings(tx: &AccountTx, state: &State, user_id: UserId) -> Result<()> {
    tx.find::<user::Entity>(user::Column::Id.eq(user_id)).await?;
    let day_ago = state.clock().ago(TimeDelta::days(1)).unwrap_or_default();
    let (owned, recent) = tx.owned(user_id, day_ago).await?;
    let plans = &state.config.plans;
    for (limit, used, message) in [
        (plans.owned_per_person, owned, "You own as many organizations as one person may."),
        (plans.founded_per_day, recent, "You have founded as many organizations as one person may in a day."),
    ] {
        if limit > 0 && used >= u64::from(limit) {
            let problem = Problem::new(ProblemCode::QuotaExceeded, &["input"], message);
            return Err(problem.details(serde_json::json!({ "limit": limit, "used": used })).into());
        }
    }
    Ok(())
}

/// Founds an organization without members, and goes on inside it.
async fn found(tx: AccountTx, state: &State, actor: ActorRef, input: &OrganizationCreateInput) -> Result<WriteTx> {
    let now = state.clock().now();
    let id = input.id.unwrap_or_else(|| state.clock().new_id());
    if input.id.is_some() && !tx.find::<organization::Entity>(organization::Column::Id.eq(id)).await?.is_empty() {
        return Err(id_taken(vec!["input".to_owned(), "id".to_owned()]).into());
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
        plan_renews_at: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
        version: Set(1),
    };
    let mut tx = tx.found(actor, row).await?;
    let organization = tx.scope().organization();
    let created = NewEvent::new(EventType::OrganizationCreated, id.any(), changes(None, Some(&fields(organization))));
    tx.record(created);
    Ok(tx)
}

/// Who owns an organization, and what of it was there before.
#[derive(Clone, Debug)]
pub struct Installed {
    pub user: user::Model,
    pub organization: organization::Model,
    pub person_is_new: bool,
    pub organization_is_new: bool,
}

/// For the server's operator: a person who owns an organization. Either may be there already and then stays as it is,
/// but for the role. `person.password` is only for a new one.
pub async fn install(
    state: &State,
    origin: &Origin,
    person: &UserRegisterInput,
    input: &OrganizationCreateInput,
) -> Result<Committed<Installed>> {
    let email = user::Column::EmailKey.eq(email_key(&person.email));
    let known_person = state.db.find_global::<user::Entity>(email).await?.pop();
    let slug = organization::Column::Slug.eq(input.slug.as_str());
    let known_organization = state.db.find_global::<organization::Entity>(slug).await?.pop();
    let (person_is_new, organization_is_new) = (known_person.is_none(), known_organization.is_none());
    if person_is_new {
        person.validate()?;
    }
    if organization_is_new {
        input.validate()?;
    }
    let password_hash = if person_is_new { state.passwords.hash(&person.password).await? } else { String::new() };
    let tx = AccountTx::begin(&state.db, origin).await?;
    let user = match known_person {
        Some(user) => user,
        // Whoever runs the server vouches for the address.
        None => accounts::service::add_person(&tx, state, person, password_hash, Some(state.clock().now())).await?,
    };
    let mut tx = match known_organization {
        Some(organization) => tx.join(organization.id, ActorRef::SYSTEM).await?,
        None => found(tx, state, ActorRef::SYSTEM, input).await?,
    };
    members::service::make_owner(&mut tx, user.id).await?;
    let organization = tx.scope().organization().clone();
    let done = tx.commit(organization).await?;
    Ok(done.map(|organization| Installed { user, organization, person_is_new, organization_is_new }))
}

pub async fn update(
    scope: &OrgScope,
    input: &OrganizationUpdateInput,
) -> Result<Committed<organization::Model>, Rejected<organization::Model>> {
    input.validate()?;
    let mut tx = scope.write(Permission::OrganizationManage).await?;
    let before = tx.lock_organization().await?;
    let before = at_version(before, input.if_version)?;
    let mut after = before.clone();
    input.patch.clone().apply(&mut after);
    let Some(changed) = changed(&before, &after, fields)? else { return Ok(tx.commit(before).await?) };
    if after.slug != before.slug {
        let same = organization::Column::Slug.eq(after.slug.as_str());
        if !tx.find_global::<organization::Entity>(same).await?.is_empty() {
            return Err(slug_taken(&["input", "patch", "slug"]).into());
        }
    }
    after.advance(scope.clock().now());
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
    // Every row of some number has come with an event, or with one of its own.
    if tx.lock_head().await?.sequence <= AT_ONCE {
        tx.delete_organization().await?;
    } else {
        tx.end_organization(DELETION).await?;
    }
    // Its ledger went with it, so the log is where this stays.
    tracing::warn!(organization = %organization.id, actor = %scope.actor().any_id(), "an organization was deleted");
    Ok(Committed { value: organization.id, cursor: None })
}

/// Ends the organization for everybody; its rows are left to a job of [`DELETION`]. For whoever runs the server.
pub async fn end(scope: &OrgScope) -> Result<()> {
    let tx = scope.write(Permission::OrganizationDelete).await?;
    tx.lock_organization().await?;
    tx.end_organization(DELETION).await
}

/// Events of an organization that is deleted in one transaction, at most; of a larger one a job deletes the rows.
const AT_ONCE: i64 = 500;

/// The kind of job that deletes the rows of an organization that has ended.
pub const DELETION: &str = "organization.deletion";

/// Deletes the next rows of an organization that has ended; whether none are left.
pub async fn delete_more(tx: AccountTx, organization_id: OrganizationId) -> Result<(AccountTx, bool)> {
    let is_last = tx.delete_more_of(organization_id).await?;
    Ok((tx, is_last))
}
