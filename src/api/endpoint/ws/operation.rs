//! One operation on a socket.

use std::{panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Instant};

use async_graphql::Request;
use futures_util::{Stream, StreamExt as _, stream};

use super::{
    close::Close,
    outbox::{Outbox, Outgoing, Ticket},
};
use crate::{
    api::endpoint::{Client, Started, http::log::log_of, stream::Step},
    base::error::Error,
    graphql::{
        error::{finish, server_errors},
        response::{has_data, text_of},
    },
};

type Operation = Pin<Box<dyn Stream<Item = Outgoing> + Send>>;

/// The end of an operation by an error.
pub fn failed(error: Error, request_id: &str) -> Outgoing {
    let mut response = async_graphql::Response::from_errors(server_errors(error));
    finish(&mut response, request_id);
    Outgoing::Error(serde_json::to_string(&response.errors).unwrap_or_default())
}

/// Runs one operation. A panic ends it and nothing else.
pub async fn operate(outbox: &Outbox, ticket: &Ticket, client: Arc<Client>, request: Request) {
    let request_id = client.envelope.origin.request_id.clone();
    // The meter has it in a box of its own, which goes once it has begun: it is large, and there are many idle streams.
    let meter = client.envelope.meter.clone();
    let steps = stream::once(meter.run(begin(client, request))).flatten();
    let mut steps: Operation = Box::pin(AssertUnwindSafe(steps).catch_unwind().map(move |step| {
        // The hook has logged where it was.
        step.unwrap_or_else(|_| failed(Error::internal("an operation panicked"), &request_id))
    }));
    while let Some(outgoing) = steps.next().await {
        outbox.say(ticket, outgoing).await;
    }
    outbox.end(ticket);
}

async fn begin(client: Arc<Client>, request: Request) -> Operation {
    let begun = Instant::now();
    let started = client.start(request).await;
    let (Started::Answer(answer) | Started::Stream(answer, _)) = &started;
    log_of(answer).say(&client.envelope.origin, begun.elapsed(), None);
    match started {
        Started::Stream(_, answers) => {
            let steps = answers.into_stream().map(|step| match step {
                Step::Next { text, .. } => Outgoing::Next(text),
                Step::Failed { errors, is_withdrawn: true } => {
                    Outgoing::Withdrawn(errors, Close::new(4403, "Forbidden").frame())
                }
                Step::Failed { errors, is_withdrawn: false } => Outgoing::Error(errors),
            });
            // Without a `complete`: the client is to come again.
            Box::pin(steps.take_until(client.api.state.live.stopping().clone().cancelled_owned()))
        }
        Started::Answer(answer) => {
            let response = &answer.response;
            let is_subscription = answer.is_subscription();
            if has_data(response) && !is_subscription {
                let text = client.api.state.connections.weigh(text_of(response));
                Box::pin(stream::iter([Outgoing::Next(text), Outgoing::Complete]))
            } else {
                let errors = serde_json::to_string(&response.errors).unwrap_or_default();
                Box::pin(stream::iter([Outgoing::Error(errors)]))
            }
        }
    }
}
