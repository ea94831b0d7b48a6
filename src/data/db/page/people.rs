//! People that the rows of a page name, read with them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use sea_orm::{ConnectionTrait as _, Iterable, JoinType, QuerySelect, QueryTrait, Select, prelude::Uuid};

use crate::{
    base::error::Result,
    data::{
        db::{Connections, fail, identity::with_columns},
        entity::{Decode, user},
    },
};

/// People by their ids.
pub(super) type People = HashMap<Uuid, Arc<user::Model>>;

/// The rows of a statement with the people that one of their columns names.
pub(super) async fn rows_with_people<E: Decode>(
    connection: &Connections,
    select: Select<E>,
    named_in: E::Column,
) -> Result<(Vec<E::Model>, People)> {
    let person = E::belongs_to(user::Entity).from(named_in).to(user::Column::Id);
    let select = with_columns::<E, user::Entity>(select.join(JoinType::LeftJoin, person.into()), "p_");
    let (mut rows, mut people) = (Vec::new(), People::new());
    for row in connection.query_all(select.as_query()).await.map_err(fail)? {
        rows.push(E::decode(&row, "", 0).map_err(fail)?);
        let id: Option<Uuid> = row.try_get("p_", "id").map_err(fail)?;
        if let Some(Entry::Vacant(place)) = id.map(|id| people.entry(id)) {
            let person = user::Entity::decode(&row, "p_", E::Column::iter().count()).map_err(fail)?;
            place.insert(Arc::new(person));
        }
    }
    Ok((rows, people))
}
