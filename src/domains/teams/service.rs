//! Teams and who is in them.

use std::collections::BTreeSet;

use sea_orm::{ActiveValue::Set, ExprTrait as _, prelude::*};
use serde::{Deserialize, Serialize};

use super::input::{MAX_MEMBERS, TeamCreateInput, TeamUpdateInput};
use crate::{
    base::{
        clock::Clock,
        enums::Feature,
        error::{Error, Problem, ProblemCode, Rejected, Result},
        id::{OrganizationId, TeamId, UserId},
        policy::Permission,
    },
    data::{
        db::{Committed, OrgScope, WriteTx, changed, filter::fold},
        entity::{EventType, invitation_team, membership, team, team_member},
        ledger::{Fields, NewEvent, changes},
    },
    domains::items,
};

/// The fields that events show.
fn fields(row: &team::Model, members: &BTreeSet<UserId>) -> Fields {
    let team::Model {
        organization_id: _,
        id: _,
        name,
        name_key: _,
        description,
        created_at: _,
        updated_at: _,
        version: _,
        removed_at: _,
    } = row;
    vec![
        ("name", name.as_str().into()),
        ("description", description.as_deref().into()),
        ("memberIds", serde_json::json!(members)),
    ]
}

fn name_taken(path: &[&str]) -> Problem {
    Problem::new(ProblemCode::Taken, path, "A team has this name.")
}

/// The row that a create makes.
pub fn new_row(input: &TeamCreateInput, organization_id: OrganizationId, clock: &Clock) -> team::Model {
    let (name, now) = (input.name.trim(), clock.now());
    team::Model {
        organization_id,
        id: input.id.unwrap_or_else(|| clock.new_id()),
        name: name.to_owned(),
        name_key: fold(name),
        description: input.description.as_ref().map(|text| text.0.clone()),
        created_at: now,
        updated_at: now,
        version: 1,
        removed_at: None,
    }
}

/// The event that tells of a new team.
pub fn created(row: &team::Model, members: &BTreeSet<UserId>) -> NewEvent {
    let created = changes(None, Some(&fields(row, members)));
    NewEvent::new(EventType::TeamCreated, row.id.any(), created).of_team(row.id)
}

pub async fn create(scope: &OrgScope, input: &TeamCreateInput) -> Result<Committed<team::Model>> {
    input.validate()?;
    let mut tx = scope.write(Permission::TeamManage).await?;
    let row = create_in(&mut tx, input).await?;
    tx.commit(row).await
}

/// A team, as part of a larger write; `input` is valid.
pub async fn create_in(tx: &mut WriteTx, input: &TeamCreateInput) -> Result<team::Model> {
    tx.require_feature(Feature::Teams);
    let members: BTreeSet<UserId> = input.member_ids.iter().flatten().copied().collect();
    let row = new_row(input, tx.organization_id(), tx.scope().clock());
    let is_same =
        async |present: &team::Model| Ok(fields(present, &members_of(tx, present.id).await?) == fields(&row, &members));
    if let Some(present) = tx.made_before::<team::Entity>(input.id, is_same).await? {
        return Ok(present);
    }
    if tx.find::<team::Entity>().filter(team::Column::NameKey.eq(row.name_key.as_str())).one().await?.is_some() {
        return Err(name_taken(&["input", "name"]).into());
    }
    check_members(tx, &members, &["input", "memberIds"]).await?;
    let row = tx.create(row, |row| created(row, &members)).await?;
    tx.insert_many(links(&row, members.iter().copied())).await?;
    Ok(row)
}

async fn members_of(tx: &WriteTx, team_id: TeamId) -> Result<BTreeSet<UserId>> {
    let of_team = tx.find::<team_member::Entity>().filter(team_member::Column::TeamId.eq(team_id));
    Ok(of_team.column(team_member::Column::UserId).await?.into_iter().collect())
}

/// People named by an input, all members of this organization.
async fn check_members(tx: &WriteTx, ids: &BTreeSet<UserId>, path: &[&str]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let named = membership::Column::UserId.is_in(ids.iter().copied());
    let found = tx.find::<membership::Entity>().filter(named).count().await?;
    if found == ids.len() as u64 { Ok(()) } else { Err(Problem::not_found(path, "member").into()) }
}

fn links(team: &team::Model, members: impl IntoIterator<Item = UserId>) -> Vec<team_member::Model> {
    let (organization_id, team_id) = (team.organization_id, team.id);
    members.into_iter().map(|user_id| team_member::Model { organization_id, team_id, user_id }).collect()
}

pub async fn update(
    scope: &OrgScope,
    input: &TeamUpdateInput,
) -> Result<Committed<team::Model>, Rejected<team::Model>> {
    input.patch.validate()?;
    let mut tx = scope.write(Permission::TeamManage).await?;
    tx.require_feature(Feature::Teams);
    let before = tx.open::<team::Entity>(input.id, input.if_version).await?;
    let mut after = before.clone();
    input.patch.apply(&mut after);
    let members_before = members_of(&tx, before.id).await?;
    let members_after = match input.patch.members.value() {
        Some(patch) => patch.apply(&members_before, &["input", "patch", "members"], MAX_MEMBERS)?,
        None => members_before.clone(),
    };
    if after.name_key != before.name_key {
        let same = tx.find::<team::Entity>().filter(team::Column::NameKey.eq(after.name_key.as_str()));
        if same.one().await?.is_some() {
            return Err(name_taken(&["input", "patch", "name"]).into());
        }
    }
    let joined: BTreeSet<UserId> = members_after.difference(&members_before).copied().collect();
    check_members(&tx, &joined, &["input", "patch", "members"]).await?;
    let after = save(&mut tx, (&before, &members_before), (after, &members_after)).await?;
    Ok(tx.commit(after).await?)
}

/// Saves the difference of a team and its members to what they were, raises the version, and records the event; changes
/// nothing when nothing differs.
async fn save(
    tx: &mut WriteTx,
    (before, members_before): (&team::Model, &BTreeSet<UserId>),
    (after, members_after): (team::Model, &BTreeSet<UserId>),
) -> Result<team::Model> {
    let show = |(row, members): &(&team::Model, &BTreeSet<UserId>)| fields(row, members);
    let Some(changed) = changed(&(before, members_before), &(&after, members_after), show)? else { return Ok(after) };
    let event = |row: &team::Model| NewEvent::new(EventType::TeamUpdated, row.id.any(), changed).of_team(row.id);
    let after = tx.write_next(after, event).await?;
    let left: Vec<UserId> = members_before.difference(members_after).copied().collect();
    tx.delete_where::<team_member::Entity>(
        team_member::Column::TeamId.eq(after.id).and(team_member::Column::UserId.is_in(left)),
    )
    .await?;
    tx.insert_many(links(&after, members_after.difference(members_before).copied())).await?;
    Ok(after)
}

/// Teams that somebody is in.
pub async fn of_member(tx: &WriteTx, user_id: UserId) -> Result<BTreeSet<TeamId>> {
    let of_member = tx.find::<team_member::Entity>().filter(team_member::Column::UserId.eq(user_id));
    Ok(of_member.column(team_member::Column::TeamId).await?.into_iter().collect())
}

/// Moves somebody from teams to others, as part of a write about their membership: one event for each team that changes.
/// Items are locked later: whoever deletes a team locks them after it.
pub async fn move_member(
    tx: &mut WriteTx,
    user_id: UserId,
    before: &BTreeSet<TeamId>,
    after: &BTreeSet<TeamId>,
) -> Result<()> {
    let ids: Vec<TeamId> = before.symmetric_difference(after).copied().collect();
    if ids.is_empty() {
        return Ok(());
    }
    let named = team::Column::Id.is_in(ids.iter().copied());
    let teams = tx.find::<team::Entity>().filter(named).order_by_asc(team::Column::Id).for_update().all().await?;
    if teams.len() < ids.len() {
        return Err(Error::retry("a team was deleted meanwhile"));
    }
    for team in teams {
        let members_before = members_of(tx, team.id).await?;
        let mut members_after = members_before.clone();
        if after.contains(&team.id) {
            members_after.insert(user_id);
        } else {
            members_after.remove(&user_id);
        }
        save(tx, (&team, &members_before), (team.clone(), &members_after)).await?;
    }
    Ok(())
}

/// Deletes a team; its items stay, without one. Deleting it again is harmless.
pub async fn delete(scope: &OrgScope, id: TeamId) -> Result<Committed<TeamId>> {
    let mut tx = scope.write(Permission::TeamManage).await?;
    let found = tx.locked_or_gone::<team::Entity>(id, &["input", "id"], EventType::TeamDeleted).await?;
    let Some(row) = found else { return tx.commit(id).await };
    let members = members_of(&tx, id).await?;
    if !remove_more(&mut tx, Removal { team_id: id }).await? {
        // Bounded by `MAX_MEMBERS`; with the last item they would go by themselves.
        tx.delete_where::<team_member::Entity>(team_member::Column::TeamId.eq(id)).await?;
        tx.delete_where::<invitation_team::Entity>(invitation_team::Column::TeamId.eq(id)).await?;
        tx.update(team::ActiveModel {
            id: Set(id),
            // The name is free for another.
            name_key: Set(id.to_string()),
            removed_at: Set(Some(scope.clock().now())),
            ..Default::default()
        })
        .await?;
        tx.enqueue(REMOVAL, id.uuid(), Removal { team_id: id }).await?;
    }
    let gone = changes(Some(&fields(&row, &members)), None);
    tx.record(NewEvent::new(EventType::TeamDeleted, id.any(), gone).of_team(id));
    tx.commit(id).await
}

/// The kind of job that takes the items that are left out of a removed team.
pub const REMOVAL: &str = "team.removal";

/// What the job reads.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Removal {
    team_id: TeamId,
}

/// Takes the next items out of a removed team, and deletes it when they were the last; whether they were.
pub async fn remove_more(tx: &mut WriteTx, Removal { team_id }: Removal) -> Result<bool> {
    let is_last = items::sweep::leave_team(tx, team_id).await?;
    if is_last {
        tx.delete_where::<team::Entity>(team::Column::Id.eq(team_id)).await?;
    }
    Ok(is_last)
}
