//! What is sent: an event, and its subject as it is now, both as the API shows them to an owner. The document is
//! `content.graphql`; it runs as a subscription's batch does, with the events at hand.

use std::collections::HashMap;

use async_graphql::{
    Request,
    parser::{parse_query, types::ExecutableDocument},
};
use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};

use crate::{
    auth::{actor::Origin, session::Caller},
    db::OrgScope,
    entity::event,
    error::{Error, Result},
    events::{
        subscription::Turn,
        types::{Event, EventBatch},
    },
    graphql::{api::Api, context::RequestContext},
    id::{AnyId, EventId, OrganizationId},
    ledger::LedgerCursor,
    webhooks::sending::Content,
};

pub struct Renderer {
    api: Api,
    document: ExecutableDocument,
}

impl Renderer {
    pub fn new(api: Api) -> Result<Self> {
        let document = parse_query(include_str!("content.graphql")).map_err(Error::internal)?;
        Ok(Self { api, document })
    }

    /// The contents for events of one organization.
    pub async fn render(
        &self,
        organization_id: OrganizationId,
        events: Vec<event::Model>,
    ) -> Result<HashMap<EventId, Content>> {
        if events.is_empty() {
            return Ok(HashMap::new());
        }
        let origin = Origin::command("webhooks");
        let scope = OrgScope::of_system(&self.api.state.db, organization_id, origin.clone()).await?;
        let caller = Caller { scope: Some(scope), ..Caller::default() };
        let batch = EventBatch {
            events: events.iter().cloned().map(Event).collect(),
            cursor: LedgerCursor { organization_id, sequence: 0 }.into(),
            is_live: true,
        };
        let mut request = Request::new("");
        request.set_parsed_query(self.document.clone());
        let context = RequestContext::new(self.api.state.clone(), caller, origin);
        let mut answers = self.api.schema.execute_stream(request.data(context).data(Turn::batch(batch)));
        let answer = answers.next().await.ok_or_else(|| Error::internal("a batch without an answer"))?;
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
