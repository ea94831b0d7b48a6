//! What is sent: an event, and its subject as it is now, both as the API shows them to an owner. The document is
//! `content.graphql`; it runs as a subscription's batch does, with the events at hand.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_graphql::{
    Request,
    parser::{parse_query, types::ExecutableDocument},
};
use futures_util::StreamExt as _;
use moka::sync::Cache;
use serde_json::{Value as Json, json};
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{
    api::endpoint::Api,
    base::{
        error::{Error, Result},
        id::{AnyId, EventId, OrganizationId},
    },
    data::{actor::Origin, db::OrgScope, entity::event},
    domains::{
        events::{
            subscription::Run,
            types::{Event, EventBatch},
        },
        webhooks::sending::Content,
    },
    graphql::{budget::AnswerBudget, context::RequestContext},
    platform::auth::session::Caller,
};

/// For how long an event's content is sent as it is: several webhooks of an organization get it at about the same time.
const FRESH: Duration = Duration::from_secs(1);
/// Bytes of contents that are kept so long.
const KEPT: u64 = 16 * 1024 * 1024;

/// Clones share it.
#[derive(Clone)]
pub struct Renderer {
    api: Api,
    document: Arc<ExecutableDocument>,
    permits: Arc<Semaphore>,
    fresh: Cache<(OrganizationId, EventId), Content>,
}

impl Renderer {
    pub fn new(api: Api) -> Result<Self> {
        let document = parse_query(include_str!("content.graphql")).map_err(Error::internal)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let fresh = Cache::builder()
            .max_capacity(KEPT)
            .weigher(|_, content: &Content| u32::try_from(content.body.len()).unwrap_or(u32::MAX))
            .time_to_live(FRESH)
            .build();
        let permits = Arc::new(Semaphore::new(cores.div_ceil(2)));
        Ok(Self { api, document: Arc::new(document), permits, fresh })
    }

    /// The contents for events of one organization; those that can't be shown are missing. Thirty of them compute for
    /// milliseconds: on a thread of its own, where the operating system lets requests go between, and on half the cores at
    /// most.
    pub async fn render(
        &self,
        organization_id: OrganizationId,
        events: Vec<event::Model>,
    ) -> Result<HashMap<EventId, Content>> {
        if events.is_empty() {
            return Ok(HashMap::new());
        }
        let _permit = self.permits.acquire().await.map_err(Error::internal)?;
        let mut contents = HashMap::new();
        let mut missing = Vec::new();
        for event in events {
            match self.fresh.get(&(organization_id, event.id)) {
                Some(content) => {
                    contents.insert(event.id, content);
                }
                None => missing.push(event),
            }
        }
        if missing.is_empty() {
            return Ok(contents);
        }
        let scope = OrgScope::of_system(&self.api.state.db, organization_id, Origin::command("webhooks")).await?;
        let (renderer, runtime) = (self.clone(), Handle::current());
        let work = move || runtime.block_on(renderer.shown(scope, missing));
        let shown = tokio::task::spawn_blocking(work).await.map_err(Error::internal)?;
        for (event, content) in &shown {
            self.fresh.insert((organization_id, *event), content.clone());
        }
        contents.extend(shown);
        Ok(contents)
    }

    async fn shown(&self, scope: OrgScope, events: Vec<event::Model>) -> HashMap<EventId, Content> {
        if let Ok(contents) = self.answer(scope.clone(), &events).await {
            return contents;
        }
        // One that can't be shown takes the whole answer: each by itself, so that it holds up nothing but its own.
        let mut contents = HashMap::new();
        for event in &events {
            match self.answer(scope.clone(), std::slice::from_ref(event)).await {
                Ok(content) => contents.extend(content),
                Err(error) => tracing::error!(event = %event.id, error = %error.describe(), "an event can't be sent"),
            }
        }
        contents
    }

    async fn answer(&self, scope: OrgScope, events: &[event::Model]) -> Result<HashMap<EventId, Content>> {
        let cursor = scope.cursor(0);
        let caller = Caller { scope: Some(scope), ..Caller::default() };
        let batch =
            EventBatch { events: events.iter().cloned().map(Event).collect(), cursor: cursor.into(), is_live: true };
        let mut request = Request::new("");
        request.set_parsed_query(ExecutableDocument::clone(&self.document));
        let mut context = RequestContext::new(&self.api.state, caller, Origin::command("webhooks"));
        // Nobody asked for it: what is sent is bounded by what events hold, 32 at a time.
        context.budget = AnswerBudget::new(usize::MAX);
        let loads = context.loads.clone();
        let mut answers = self.api.schema.execute_stream(request.data(context).data(Run::batch(batch)));
        let answer = loads.drive(answers.next()).await.ok_or_else(|| Error::internal("a batch without an answer"))?;
        if let Some(error) = answer.errors.first() {
            return Err(Error::internal(format!("an event could not be shown: {}", error.message)));
        }
        let mut shown = answer.data.into_json().map_err(Error::internal)?;
        let shown = shown["events"]["events"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(events.iter().zip(shown).map(|(event, shown)| (event.id, content(event, shown))).collect())
    }
}

/// `{"type": "item.updated", "timestamp": …, "data": {"event": …, "subject": …}}`
fn content(event: &event::Model, mut shown: Json) -> Content {
    let subject = shown.as_object_mut().and_then(|event| event.remove("subject")).unwrap_or_default();
    shown["itemId"] = json!(event.item_id);
    let body = json!({
        "type": event.r#type.wire_name(),
        "timestamp": shown["occurredAt"],
        "data": { "event": shown, "subject": subject },
    });
    let subject_id = || AnyId::new(&event.subject_kind, event.subject_id);
    Content { body: body.to_string().into(), ordering_key: event.item_id.map(|item| item.any()).or_else(subject_id) }
}
