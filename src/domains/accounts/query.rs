//! Lists of a person's own.

use sea_orm::{ColumnTrait, Condition};

use crate::{
    base::{error::Result, id::UserId},
    data::{
        db::{
            Db,
            page::{Key, Page, PageArgs, PageStart, Wants},
        },
        entity::{security_event, session},
    },
};

/// Sessions listed at most.
const SESSIONS: i32 = 50;

/// A person's sessions that have not ended.
pub fn live(db: &Db, user_id: UserId) -> Condition {
    Condition::all()
        .add(session::Column::UserId.eq(user_id))
        .add(session::Column::RevokedAt.is_null())
        .add(session::Column::ExpiresAt.gt(db.clock().now()))
}

/// The newest live sessions of a person.
pub async fn sessions(db: &Db, user_id: UserId) -> Result<Vec<session::Model>> {
    let start = PageStart::read(&PageArgs::forward(Some(SESSIONS), None), "sessions", db.clock())?;
    let newest = vec![Key::desc(session::Column::CreatedAt)];
    let wants = Wants { rows: true, total: false, cursors: true };
    let plan = start.plan::<session::Entity>(live(db, user_id), newest, session::Column::Id, wants)?;
    Ok(plan.fetch_global(db).await?.rows)
}

/// A person's security log, newest first.
pub async fn security_events(
    db: &Db,
    user_id: UserId,
    args: &PageArgs,
    wants: Wants,
) -> Result<Page<security_event::Model>> {
    let start = PageStart::read(args, &format!("security events of {user_id}"), db.clock())?;
    let own = Condition::all().add(security_event::Column::UserId.eq(user_id));
    let newest = vec![Key::desc(security_event::Column::CreatedAt)];
    start.plan::<security_event::Entity>(own, newest, security_event::Column::Id, wants)?.fetch_global(db).await
}
