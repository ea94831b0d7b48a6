//! The bus between instances, where Redis is configured: one channel that says how far ledgers have got, that rights
//! may have changed, and that something is to be sent to webhooks. A message that is lost is made up for by the poll of `live`.

use uuid::Uuid;

use crate::{
    base::id::OrganizationId,
    data::{
        db::Db,
        ledger::{Announcements, Source},
    },
    platform::redis::Redis,
};

const CHANNEL: &str = "todo:ledger";
/// In the place of a ledger: rights may have changed.
const RIGHTS: &str = "rights";
/// The same: something is to be sent to webhooks.
const DELIVERIES: &str = "deliveries";

/// Carries this instance's news to the others and theirs here, for as long as the process lives.
pub(super) fn start(redis: Redis, db: &Db) {
    let bus = db.bus().clone();
    bus.be_relayed();
    let listening = (redis.clone(), db.clone());
    tokio::spawn(async move {
        loop {
            // While Redis is away there is nobody to tell: the others poll.
            redis.publish(CHANNEL, &write(&bus.announcements().await)).await;
        }
    });
    tokio::spawn(async move {
        let (redis, db) = listening;
        redis.listen(CHANNEL, |message| hear(message, &db)).await;
    });
}

fn hear(message: &str, db: &Db) {
    let announcements = read(message);
    if announcements.rights {
        db.forget_identities();
        db.bus().hear_rights();
    }
    if announcements.deliveries {
        db.bus().hear_deliveries();
    }
    for (organization_id, sequence) in announcements.heads {
        db.bus().hear(organization_id, sequence, Source::Redis);
    }
}

/// `rights deliveries 0198…=17 0198…=4`
fn write(announcements: &Announcements) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(announcements.rights.then(|| RIGHTS.to_owned()));
    words.extend(announcements.deliveries.then(|| DELIVERIES.to_owned()));
    words.extend(announcements.heads.iter().map(|(id, sequence)| format!("{}={sequence}", id.uuid().simple())));
    words.join(" ")
}

/// What can't be read is of a later release: left out.
fn read(message: &str) -> Announcements {
    let mut announcements = Announcements::default();
    for word in message.split(' ') {
        announcements.rights |= word == RIGHTS;
        announcements.deliveries |= word == DELIVERIES;
        let pair = word.split_once('=');
        if let Some((Ok(id), Ok(sequence))) = pair.map(|(id, sequence)| (Uuid::try_parse(id), sequence.parse())) {
            announcements.heads.insert(OrganizationId::from_uuid(id), sequence);
        }
    }
    announcements
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let organization = |number| OrganizationId::from_uuid(Uuid::from_u128(number));
        for rights in [true, false] {
            let heads = BTreeMap::from([(organization(7), 1), (organization(8), i64::MAX)]);
            let announcements = Announcements { heads, rights, deliveries: !rights };
            assert_eq!(read(&write(&announcements)), announcements);
        }
        assert_eq!(read("of-later=x nonsense =3 rights"), Announcements { rights: true, ..Announcements::default() });
    }
}
