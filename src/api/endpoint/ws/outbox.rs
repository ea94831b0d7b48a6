//! What waits to be sent on one socket, and the operations that put it there. Operations run in tasks of their own; when
//! an answer is made and too many bytes are waiting, its task waits with it, and nothing else does.

use std::{
    collections::{HashMap, VecDeque},
    iter,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _};
use tokio::{
    sync::{Notify, Semaphore},
    task::AbortHandle,
    time::timeout,
};
use tokio_tungstenite::tungstenite::protocol::{
    CloseFrame, Message,
    frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::platform::connections::{Connection, Waiting};

/// Bytes of a frame at most. The socket keeps a buffer of the largest that it ever wrote.
const FRAME: usize = 8 * 1024;

/// The queue of a socket.
pub struct Outbox {
    state: Mutex<State>,
    /// Bytes that may still be put there.
    room: Semaphore,
    capacity: usize,
    /// Something is to be written.
    news: Notify,
    /// An operation has ended.
    idle: Notify,
    /// Where what waits is counted.
    connection: Arc<Connection>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Entry>,
    operations: HashMap<Arc<str>, Operation>,
    /// Operations so far.
    count: u64,
}

struct Operation {
    number: u64,
    task: AbortHandle,
}

enum Entry {
    Ping,
    Message(Queued),
    Close(CloseFrame),
}

/// A message in parts, one after the other: an answer's text may be many clients' and is not copied.
struct Queued {
    /// Of the operation; 0: the socket's own.
    number: u64,
    parts: [Bytes; 3],
    /// What it takes of the room.
    room: usize,
    _waiting: Waiting,
}

/// What an operation says.
pub enum Outgoing {
    Next(Bytes),
    /// The operation is over: the JSON text of the errors.
    Error(String),
    /// Also the caller may not call any more: the socket is closed.
    Withdrawn(String, CloseFrame),
    Complete,
}

/// Which operation a task is.
#[derive(Clone)]
pub struct Ticket {
    pub id: Arc<str>,
    number: u64,
}

impl Outbox {
    /// `capacity`: bytes that may wait; one message may be larger.
    pub fn new(capacity: usize, connection: Arc<Connection>) -> Self {
        Self {
            state: Mutex::default(),
            room: Semaphore::new(capacity),
            capacity,
            news: Notify::new(),
            idle: Notify::new(),
            connection,
        }
    }

    /// Begins an operation in a task of its own, under an id that must be free.
    pub fn begin<F: Future<Output = ()> + Send + 'static>(&self, id: String, work: impl FnOnce(Ticket) -> F) {
        let mut state = self.state();
        state.count += 1;
        let ticket = Ticket { id: id.into(), number: state.count };
        let (id, number) = (ticket.id.clone(), ticket.number);
        // Under the lock: the task can't be over before it is listed.
        let task = tokio::spawn(work(ticket)).abort_handle();
        state.operations.insert(id, Operation { number, task });
    }

    pub fn is_running(&self, id: &str) -> bool {
        self.state().operations.contains_key(id)
    }

    /// How many operations run.
    pub fn running(&self) -> usize {
        self.state().operations.len()
    }

    /// Returns once no operation runs. For one caller at a time.
    pub async fn idle(&self) {
        while self.running() > 0 {
            self.idle.notified().await;
        }
    }

    /// Stops an operation; what it has said and was not sent yet is not sent.
    pub fn stop(&self, id: &str) {
        let mut state = self.state();
        let Some(operation) = state.operations.remove(id) else { return };
        operation.task.abort();
        let mut freed = 0;
        state.queue.retain(|entry| match entry {
            Entry::Message(queued) if queued.number == operation.number => {
                freed += queued.room;
                false
            }
            _ => true,
        });
        self.room.add_permits(freed);
    }

    /// Stops all operations.
    pub fn stop_all(&self) {
        for (_, operation) in self.state().operations.drain() {
            operation.task.abort();
        }
    }

    /// Says it once there is room. Nothing that is still under way may wait with it: no transaction, no connection.
    pub async fn say(&self, ticket: &Ticket, outgoing: Outgoing) {
        let id = serde_json::to_string(&*ticket.id).unwrap_or_default();
        let head = |kind: &str| format!("{{\"id\":{id},\"type\":\"{kind}\"");
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        let (is_last, parts, close) = match outgoing {
            Outgoing::Next(payload) => (false, [(head("next") + ",\"payload\":").into(), payload, text("}")], None),
            Outgoing::Error(errors) => {
                (true, [(head("error") + ",\"payload\":").into(), errors.into(), text("}")], None)
            }
            Outgoing::Withdrawn(errors, close) => {
                (true, [(head("error") + ",\"payload\":").into(), errors.into(), text("}")], Some(close))
            }
            Outgoing::Complete => (true, [(head("complete") + "}").into(), Bytes::new(), Bytes::new()], None),
        };
        let queued = self.make_room(ticket.number, parts).await;
        let mut state = self.state();
        if !state.is_listed(ticket) {
            // It was stopped while it waited.
            self.room.add_permits(queued.room);
            return;
        }
        if is_last {
            // Whoever reads that it is over may use its id again.
            state.operations.remove(&ticket.id);
        }
        state.queue.push_back(Entry::Message(queued));
        state.queue.extend(close.map(Entry::Close));
        drop(state);
        self.news.notify_one();
        self.idle.notify_one();
    }

    /// The operation is over without a word; its id is free.
    pub fn end(&self, ticket: &Ticket) {
        let mut state = self.state();
        if state.is_listed(ticket) {
            state.operations.remove(&ticket.id);
        }
        self.idle.notify_one();
    }

    /// Says something of the socket itself, once there is room.
    pub async fn say_plainly(&self, text: String) {
        let queued = self.make_room(0, [text.into(), Bytes::new(), Bytes::new()]).await;
        self.push(Entry::Message(queued));
    }

    /// Asks whether anybody is there, unless something is being said anyway.
    pub fn ping(&self) {
        if self.state().queue.is_empty() {
            self.push(Entry::Ping);
        }
    }

    /// The last thing said.
    pub fn close(&self, frame: CloseFrame) {
        self.push(Entry::Close(frame));
    }

    async fn make_room(&self, number: u64, parts: [Bytes; 3]) -> Queued {
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        let waiting = self.connection.wait(bytes);
        let room = bytes.min(self.capacity);
        if let Ok(permits) = self.room.acquire_many(u32::try_from(room).unwrap_or(u32::MAX)).await {
            permits.forget();
        }
        Queued { number, parts, room, _waiting: waiting }
    }

    fn push(&self, entry: Entry) {
        self.state().queue.push_back(entry);
        self.news.notify_one();
    }

    /// Writes what is said, until a close has been written, the client is gone, or takes nothing for `deadline`.
    pub async fn write(&self, mut sink: impl Sink<Message> + Unpin, deadline: Duration) {
        loop {
            let entry = self.state().queue.pop_front();
            let Some(entry) = entry else {
                self.news.notified().await;
                continue;
            };
            let is_written = match entry {
                Entry::Ping => send(&mut sink, Message::Ping(Bytes::new()), deadline).await,
                Entry::Close(frame) => {
                    send(&mut sink, Message::Close(Some(frame)), deadline).await;
                    return;
                }
                Entry::Message(queued) => {
                    let mut frames = frames(queued.parts);
                    let is_written = loop {
                        let Some(frame) = frames.next() else { break true };
                        if !send(&mut sink, Message::Frame(frame), deadline).await {
                            break false;
                        }
                    };
                    self.room.add_permits(queued.room);
                    is_written
                }
            };
            if !is_written {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_listed(&self, ticket: &Ticket) -> bool {
        self.operations.get(&ticket.id).is_some_and(|operation| operation.number == ticket.number)
    }
}

/// Whether the client took it.
async fn send(sink: &mut (impl Sink<Message> + Unpin), message: Message, deadline: Duration) -> bool {
    matches!(timeout(deadline, sink.send(message)).await, Ok(Ok(())))
}

/// A text message as frames of at most [`FRAME`] bytes.
fn frames(parts: [Bytes; 3]) -> impl Iterator<Item = Frame> {
    let total: usize = parts.iter().map(Bytes::len).sum();
    let parts = if total <= FRAME { [parts.concat().into(), Bytes::new(), Bytes::new()] } else { parts };
    let mut left: VecDeque<Bytes> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let mut opcode = Data::Text;
    iter::from_fn(move || {
        let mut part = left.pop_front()?;
        if part.len() > FRAME {
            left.push_front(part.split_off(FRAME));
        }
        Some(Frame::message(part, OpCode::Data(std::mem::replace(&mut opcode, Data::Continue)), left.is_empty()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_sum_of_its_frames() {
        for length in [0, 1, FRAME - 2, FRAME - 1, FRAME, 3 * FRAME, 3 * FRAME + 1] {
            let payload = "é".repeat(length);
            let all: Vec<Frame> = frames([Bytes::from("{"), payload.clone().into(), Bytes::from("}")]).collect();
            let text: Vec<u8> = all.iter().flat_map(|frame| frame.payload().to_vec()).collect();
            assert_eq!(String::from_utf8(text).expect("UTF-8"), format!("{{{payload}}}"));
            for (number, frame) in all.iter().enumerate() {
                let header = frame.header();
                let expected = if number == 0 { Data::Text } else { Data::Continue };
                assert_eq!((header.opcode, header.is_final), (OpCode::Data(expected), number + 1 == all.len()));
                assert!(frame.payload().len() <= FRAME);
            }
        }
    }
}
