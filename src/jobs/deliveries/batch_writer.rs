//! Writes what came of attempts: whatever has come in while the last transaction ran goes into the next one, so that many
//! endpoints at once cost few commits.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::{
    base::{
        clock::Instant,
        error::{Error, Result},
    },
    data::db::{
        Db,
        deliveries::{DeliveryQueue, FailingSince, Outcome},
        retrying,
    },
};

/// Outcomes of one transaction at most.
const BATCH: usize = 128;
/// How long the first of them waits for others: what trickles in would otherwise be a commit each, which on SQLite also
/// takes what every reader has cached.
const GATHER: Duration = Duration::from_millis(10);
/// Outcomes that wait for no others: as many as one queue leaves unwritten before it stops.
const ENOUGH: usize = super::queue::UNRECORDED;

/// Whether the queue is still this worker's, and since when it has been failing.
pub type Recorded = Option<Option<Instant>>;

type Answer = oneshot::Sender<Result<Recorded, Arc<Error>>>;
type Waiting = (Outcome, Answer);

pub struct BatchWriter(mpsc::Sender<Waiting>);

impl BatchWriter {
    /// Must be called on the runtime. It ends with the last of its senders.
    pub fn start(db: Db) -> Self {
        let (sender, receiver) = mpsc::channel(BATCH);
        tokio::spawn(write(db, receiver));
        Self(sender)
    }

    /// Writes an outcome; returns once it is committed. `None` when the queue was lost: nothing was written.
    pub async fn record(&self, outcome: Outcome) -> Result<Recorded> {
        let (answer, answered) = oneshot::channel();
        self.0.send((outcome, answer)).await.map_err(Error::internal)?;
        answered.await.map_err(Error::internal)?.map_err(|error| Error::internal(error.describe()))
    }
}

async fn write(db: Db, mut receiver: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        let gathered = tokio::time::sleep(GATHER);
        tokio::pin!(gathered);
        while batch.len() < ENOUGH {
            let room = BATCH - batch.len();
            tokio::select! {
                () = &mut gathered => break,
                more = receiver.recv_many(&mut batch, room) => if more == 0 { break },
            }
        }
        let (outcomes, answers): (Vec<Outcome>, Vec<_>) = batch.drain(..).unzip();
        let written = retrying(|| db.record_outcomes(&outcomes)).await;
        let failing_since = match &written {
            Ok(failing_since) => Ok(failing_since),
            // The same would happen to each of them.
            Err(error @ Error::Refused(_)) => Err(Arc::new(error.clone())),
            // One of them can't be written: each webhook's by themselves, so that it takes nobody else's with it.
            Err(error) => {
                tracing::warn!(error = %error.describe(), "outcomes of deliveries could not be written together");
                apart(&db, outcomes, answers).await;
                continue;
            }
        };
        answer(&failing_since, &outcomes, answers);
    }
}

/// One transaction for each queue.
async fn apart(db: &Db, outcomes: Vec<Outcome>, answers: Vec<Answer>) {
    let mut by_queue: HashMap<DeliveryQueue, (Vec<Outcome>, Vec<Answer>)> = HashMap::new();
    for (outcome, answer) in outcomes.into_iter().zip(answers) {
        let (outcomes, answers) = by_queue.entry(outcome.queue).or_default();
        outcomes.push(outcome);
        answers.push(answer);
    }
    for (outcomes, answers) in by_queue.into_values() {
        let written = retrying(|| db.record_outcomes(&outcomes)).await.map_err(Arc::new);
        answer(&written.as_ref().map_err(Clone::clone), &outcomes, answers);
    }
}

fn answer(failing_since: &Result<&FailingSince, Arc<Error>>, outcomes: &[Outcome], answers: Vec<Answer>) {
    for (outcome, answer) in outcomes.iter().zip(answers) {
        let recorded = failing_since.as_ref().map(|failing_since| failing_since.get(&outcome.queue).copied());
        // A queue that has ended meanwhile doesn't ask any more.
        let _ = answer.send(recorded.map_err(Clone::clone));
    }
}
