use async_graphql::{InputObject, MaybeUndefined};
use sea_orm::{ColumnTrait, Condition};

use crate::{
    base::{
        enums::{MembershipStatus, Role},
        error::{Problems, Result},
        id::{ClientMade, InvitationId, MembershipId, TeamId, UserId, kind},
        policy::Permission,
    },
    data::{
        db::{
            OrgScope,
            filter::{everything, is_viewer, present, select, select_people},
        },
        entity::{membership, team_member, user},
    },
    domains::accounts::input::{check_email, required},
    graphql::{
        filter::{Filtering, IdFilter, StringFilter},
        patch::{IdSetPatch, check_set},
    },
};

/// Whom to invite, and to what.
#[derive(InputObject, Clone)]
pub struct InvitationCreateInput {
    /// Client-made id, `inv_` and a UUIDv7; made by the server when left out. One that is in use is TAKEN.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<InvitationId>,
    /// The address to invite; TAKEN when it is a member's.
    pub email: String,
    /// The role to give, not above the caller's own.
    #[graphql(default_with = "Role::Member")]
    pub role: Role,
    /// Teams to be in, 50 at most.
    pub team_ids: Option<Vec<TeamId>>,
}

impl InvitationCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        check_email(&mut problems, &["input", "email"], &self.email);
        problems.count(&["input", "teamIds"], self.team_ids.as_ref().map_or(0, Vec::len), 50);
        problems.finish()
    }
}

/// Which invitation to revoke. Revoking it again is harmless.
#[derive(InputObject, Clone)]
pub struct InvitationRevokeInput {
    /// The invitation, to a role not above the caller's own.
    pub id: InvitationId,
}

/// Which invitation to send again.
#[derive(InputObject, Clone)]
pub struct InvitationResendInput {
    /// The invitation, to a role not above the caller's own.
    pub id: InvitationId,
}

/// By a token (the one in the e-mail also proves the address), or by id from `Viewer.invitations` (a verified address).
/// The invitation must be to the account's address, and whoever made it must still be able to grant its role.
#[derive(async_graphql::OneofObject, Clone)]
pub enum InvitationAcceptInput {
    /// The token from the e-mail, or the one its maker was shown.
    Token(String),
    /// Id of one of `Viewer.invitations`; the account's address must be verified.
    Id(InvitationId),
}

/// Changes to a membership. What is left out stays as it is.
#[derive(InputObject, Clone)]
pub struct MembershipPatch {
    /// What they may do, not above the caller's own role. Can't be cleared; LAST_OWNER when no active owner would be
    /// left.
    pub role: MaybeUndefined<Role>,
    /// Whether they may do anything. Can't be cleared; LAST_OWNER when no active owner would be left.
    pub status: MaybeUndefined<MembershipStatus>,
    /// Teams they are in, 50 at most. Null is REQUIRED.
    pub teams: MaybeUndefined<IdSetPatch>,
}

impl MembershipPatch {
    pub fn validate(&self) -> Result<()> {
        let Self { role, status, teams } = self;
        let mut problems = Problems::default();
        required(&mut problems, &["input", "patch", "role"], role);
        required(&mut problems, &["input", "patch", "status"], status);
        check_set(&mut problems, &["input", "patch", "teams"], teams);
        problems.finish()
    }

    /// Writes what the patch says into the row; the teams are another table's.
    pub fn apply(&self, row: &mut membership::Model) {
        let Self { role, status, teams: _ } = self;
        row.role = role.take_or(row.role);
        row.status = status.take_or(row.status);
    }
}

trait TakeOr<T> {
    fn take_or(&self, present: T) -> T;
}

impl<T: Copy> TakeOr<T> for MaybeUndefined<T> {
    fn take_or(&self, present: T) -> T {
        self.value().copied().unwrap_or(present)
    }
}

/// Which membership to change, and how.
#[derive(InputObject, Clone)]
pub struct MembershipUpdateInput {
    /// The membership, of somebody not above the caller's own role.
    pub id: MembershipId,
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
    /// What to change.
    pub patch: MembershipPatch,
}

/// Who is to be a member no more. Removing them again is harmless.
#[derive(InputObject, Clone)]
pub struct MembershipRemoveInput {
    /// The membership, of somebody not above the caller's own role.
    pub id: MembershipId,
    /// User id of the active member who receives their open assignments; left out: the items lose an assignee.
    pub reassign_to_id: Option<UserId>,
}

/// Condition on a membership; all that is given must hold.
#[derive(InputObject, Clone, Debug)]
pub struct MembershipFilter {
    /// By the person.
    pub user: Option<UserFilter>,
    /// One of these roles; none in an empty list.
    pub roles: Option<Vec<Role>>,
    /// One of these statuses; none in an empty list.
    pub statuses: Option<Vec<MembershipStatus>>,
    /// Members of this team. Needs ITEM_READ.
    pub team_id: Option<TeamId>,
}

impl MembershipFilter {
    pub fn condition(&self, f: &mut Filtering<'_>) -> Result<Condition> {
        let Self { user, roles, statuses, team_id } = self;
        let mut condition = everything();
        if let Some(user) = user {
            condition = condition.add(user.condition(f, membership::Column::UserId)?);
        }
        if let Some(roles) = roles {
            f.spend_list(roles)?;
            condition = condition.add(membership::Column::Role.is_in(roles.iter().copied()));
        }
        if let Some(statuses) = statuses {
            f.spend_list(statuses)?;
            condition = condition.add(membership::Column::Status.is_in(statuses.iter().copied()));
        }
        if let Some(team) = team_id {
            f.needs(Permission::ItemRead, "teams")?;
            f.spend()?;
            let of_team = everything().add(team_member::Column::TeamId.eq(*team));
            let members = select::<team_member::Entity>(f.scope, team_member::Column::UserId, of_team);
            condition = condition.add(membership::Column::UserId.in_subquery(members));
        }
        Ok(condition)
    }
}

/// Condition on a person; all that is given must hold.
#[derive(InputObject, Clone, Debug, Default)]
pub struct UserFilter {
    /// By the user id.
    pub id: Option<IdFilter>,
    /// By full name or username: one of the two must be what is asked for, neither may be what is ruled out.
    pub name: Option<StringFilter>,
    /// By the e-mail address, of those whose address the caller may read (`User.email`); that of others counts as
    /// absent. Needs MEMBER_READ.
    pub email: Option<StringFilter>,
    /// Whether it is the caller.
    pub is_viewer: Option<bool>,
    /// Members with one of these roles; 500 entries at most. Needs MEMBER_READ.
    pub roles: Option<Vec<Role>>,
}

/// Of whom the caller may read the address, given MEMBER_READ: fellow members and themselves, as `User.email` shows it.
fn readable_email(scope: &OrgScope) -> Condition {
    let fellows = select::<membership::Entity>(scope, membership::Column::UserId, everything());
    Condition::any().add(user::Column::Id.in_subquery(fellows)).add(is_viewer(scope, user::Column::Id, true))
}

impl UserFilter {
    /// The only person whom it matches, where it asks for one, by id or as the caller, and nothing else.
    pub fn only(&self, scope: &OrgScope) -> Option<UserId> {
        match self {
            Self { id: Some(id), name: None, email: None, is_viewer: None, roles: None } => id.only(),
            Self { id: None, name: None, email: None, is_viewer: Some(true), roles: None } => scope.user_id(),
            _ => None,
        }
    }

    /// The condition on a column that names a person.
    pub fn condition(&self, f: &mut Filtering<'_>, column: impl ColumnTrait) -> Result<Condition> {
        let Self { id, name, email, is_viewer: viewer, roles } = self;
        let mut condition = everything();
        if let Some(id) = id {
            condition = condition.add(id.condition::<kind::User>(f, column)?);
        }
        if let Some(name) = name {
            let (wanted, unwanted) = name.halves();
            let mut named = everything();
            for (half, mut either) in [(wanted, Condition::any()), (unwanted, Condition::all())] {
                let Some(half) = half else { continue };
                either = either.add(half.condition(f, user::Column::Username, user::Column::UsernameKey)?);
                either = either.add(half.condition(f, user::Column::FullName, user::Column::FullNameKey)?);
                named = named.add(either);
            }
            condition = condition.add(present(column, column.in_subquery(select_people(f.scope, named))));
        }
        if let Some(email) = email {
            f.needs(Permission::MemberRead, "e-mail")?;
            // Of whom the address can't be read, it is as if absent: equal to nothing, unequal to everything.
            let (wanted, unwanted) = email.halves();
            let mut found = everything();
            if let Some(wanted) = wanted {
                let equal = wanted.condition(f, user::Column::Email, user::Column::EmailKey)?;
                found = found.add(readable_email(f.scope)).add(equal);
            }
            if let Some(unwanted) = unwanted {
                let unequal = unwanted.condition(f, user::Column::Email, user::Column::EmailKey)?;
                found = found.add(Condition::any().add(readable_email(f.scope).not()).add(unequal));
            }
            condition = condition.add(present(column, column.in_subquery(select_people(f.scope, found))));
        }
        if let Some(wanted) = viewer {
            f.spend()?;
            condition = condition.add(is_viewer(f.scope, column, *wanted));
        }
        if let Some(roles) = roles {
            f.needs(Permission::MemberRead, "roles")?;
            f.spend_list(roles)?;
            let of_roles = everything().add(membership::Column::Role.is_in(roles.iter().copied()));
            let people = select::<membership::Entity>(f.scope, membership::Column::UserId, of_roles);
            condition = condition.add(present(column, column.in_subquery(people)));
        }
        Ok(condition)
    }
}
