//! Objects that a page has many of, resolved with less work than async-graphql's own way. That makes a future on the heap of
//! each field of each object before it polls the first; of a page, a thousand. Here each is polled as soon as it is made,
//! and only what has to wait is kept: mostly nothing.

use std::{borrow::Cow, collections::HashSet, future::poll_fn, pin::Pin, task::Poll};

use async_graphql::{
    ContainerType, ContextSelectionSet, Name, OutputType, Positioned, ServerResult, Value,
    indexmap::IndexMap,
    parser::types::{Field, Selection, SelectionSet},
    registry::Registry,
};

/// Fields of which comparing each with each is cheaper than hashing them.
const FEW: usize = 24;

/// A list of objects, as a field gives it.
#[derive(Debug)]
pub enum Objects<'a, T> {
    Of(Vec<&'a T>),
    Own(Vec<T>),
}

impl<T: ContainerType> OutputType for Objects<'_, T> {
    fn type_name() -> Cow<'static, str> {
        Vec::<T>::type_name()
    }

    fn qualified_type_name() -> String {
        Vec::<T>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        Vec::<T>::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        // Boxed, for the future of any of an object's fields is as large as the largest.
        let objects = match self {
            Self::Of(objects) => objects.clone(),
            Self::Own(objects) => objects.iter().collect(),
        };
        Box::pin(all(ctx, field, objects)).await.map(Value::List)
    }
}

/// One object, as a field gives it that is asked of many.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<T: ContainerType> OutputType for Object<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn qualified_type_name() -> String {
        T::qualified_type_name()
    }

    fn introspection_type_name(&self) -> Cow<'static, str> {
        self.0.introspection_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let selected = selected(ctx, &T::type_name());
        Box::pin(resolve(ctx, field, &self.0, selected.as_deref())).await
    }
}

async fn all<'o, T: ContainerType + 'o>(
    ctx: &ContextSelectionSet<'_>,
    field: &Positioned<Field>,
    objects: Vec<&'o T>,
) -> ServerResult<Vec<Value>> {
    let selected = selected(ctx, &T::type_name());
    let selected = selected.as_deref();
    let resolved = objects.into_iter().enumerate().map(|(place, object)| async move {
        let ctx = ctx.with_index(place);
        resolve(&ctx, field, object, selected).await.map_err(|error| ctx.set_error_path(error))
    });
    join(resolved).await
}

/// An object with the fields that are selected; by the library's way where these are not known here.
async fn resolve<T: ContainerType>(
    ctx: &ContextSelectionSet<'_>,
    field: &Positioned<Field>,
    object: &T,
    selected: Option<&[&Positioned<Field>]>,
) -> ServerResult<Value> {
    let Some(selected) = selected else { return object.resolve(ctx, field).await };
    let values = selected.iter().map(|field| async move {
        let ctx = ctx.with_field(field);
        let value = match field.node.name.node.as_str() {
            "__typename" => Value::String(object.introspection_type_name().into_owned()),
            _ => object.resolve_field(&ctx).await?.unwrap_or_default(),
        };
        Ok((field.node.response_key().node.clone(), value))
    });
    let mut fields: IndexMap<Name, Value> = IndexMap::with_capacity(selected.len());
    fields.extend(join(values).await?);
    Ok(Value::Object(fields))
}

/// The fields that are selected of an object of this type; `None` where that takes more than a look: fragments on another
/// type, directives of fields, and what is selected twice, for what is below the two is to be merged. It must be known
/// before any of them is resolved: done twice on each level, the work would double with each.
fn selected<'s>(ctx: &ContextSelectionSet<'s>, type_name: &str) -> Option<Vec<&'s Positioned<Field>>> {
    let mut fields = Vec::with_capacity(ctx.item.node.items.len());
    collect(ctx, type_name, ctx.item, &mut fields, &mut HashSet::new())?;
    Some(fields)
}

fn collect<'s>(
    ctx: &ContextSelectionSet<'s>,
    type_name: &str,
    set: &'s Positioned<SelectionSet>,
    fields: &mut Vec<&'s Positioned<Field>>,
    keys: &mut HashSet<&'s str>,
) -> Option<()> {
    for selection in &set.node.items {
        let (condition, below) = match &selection.node {
            Selection::Field(field) => {
                if !field.node.directives.is_empty() || is_selected(fields, keys, key(field)) {
                    return None;
                }
                fields.push(field);
                continue;
            }
            Selection::FragmentSpread(spread) => {
                let fragment = ctx.query_env.fragments.get(&spread.node.fragment_name.node)?;
                (Some(&fragment.node.type_condition), &fragment.node.selection_set)
            }
            Selection::InlineFragment(fragment) => {
                (fragment.node.type_condition.as_ref(), &fragment.node.selection_set)
            }
        };
        if condition.is_some_and(|condition| condition.node.on.node != type_name) {
            return None;
        }
        collect(ctx, type_name, below, fields, keys)?;
    }
    Some(())
}

fn key(field: &Positioned<Field>) -> &str {
    field.node.response_key().node.as_str()
}

/// Whether a key is among those of the fields. A few are compared one by one; more go into `keys`.
fn is_selected<'s>(fields: &[&'s Positioned<Field>], keys: &mut HashSet<&'s str>, wanted: &'s str) -> bool {
    if fields.len() < FEW {
        return fields.iter().any(|field| key(field) == wanted);
    }
    if keys.is_empty() {
        keys.extend(fields.iter().map(|field| key(field)));
    }
    !keys.insert(wanted)
}

/// All results, in order, or the first error.
async fn join<T, F: Future<Output = ServerResult<T>> + Send>(
    futures: impl Iterator<Item = F> + Send,
) -> ServerResult<Vec<T>> {
    let mut done = Vec::with_capacity(futures.size_hint().0);
    let mut waiting: Vec<(usize, Pin<Box<F>>)> = Vec::new();
    // Where the last one was that did not wait: one place on the heap does for most of a page.
    let mut place_of_last: Option<Pin<Box<F>>> = None;
    for (place, future) in futures.enumerate() {
        let mut future = match place_of_last.take() {
            Some(mut place) => {
                place.set(future);
                place
            }
            None => Box::pin(future),
        };
        match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
            Poll::Ready(result) => {
                done.push(Some(result?));
                place_of_last = Some(future);
            }
            Poll::Pending => {
                done.push(None);
                waiting.push((place, future));
            }
        }
    }
    poll_fn(|context| {
        let mut left = 0;
        while let Some((place, future)) = waiting.get_mut(left) {
            match future.as_mut().poll(context) {
                Poll::Pending => left += 1,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(value)) => {
                    done[*place] = Some(value);
                    waiting.swap_remove(left);
                }
            }
        }
        if waiting.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await?;
    Ok(done.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use async_graphql::{ContainerType, Context};

    use crate::{
        domains::{
            accounts::types::User, comments::types::Comment, items::types::Item, tags::types::Tag, teams::types::Team,
        },
        graphql::connection::Connection,
    };

    /// Bytes of the future of any field of an object.
    fn size<'a, T: ContainerType + 'a, F>(_: impl FnOnce(&'a T, &'a Context<'a>) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    /// A page makes and moves one of each field that is selected of each object, and each is as large as that of the dearest
    /// field: what such a field waits with, and large arguments, are boxed.
    #[test]
    fn fields_are_small() {
        let sizes = [
            ("Item", size::<Item, _>(|object, ctx| object.resolve_field(ctx))),
            ("User", size::<User, _>(|object, ctx| object.resolve_field(ctx))),
            ("Tag", size::<Tag, _>(|object, ctx| object.resolve_field(ctx))),
            ("Team", size::<Team, _>(|object, ctx| object.resolve_field(ctx))),
            ("Comment", size::<Comment, _>(|object, ctx| object.resolve_field(ctx))),
            ("Connection", size::<Connection<Item>, _>(|object, ctx| object.resolve_field(ctx))),
        ];
        for (name, size) in sizes {
            assert!(size <= 640, "{name}: {size} bytes");
        }
    }
}
