//! Who has used how much of the processor lately.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use uuid::Uuid;

/// For how many times as long as it was used, the use of a processor is owed.
const FACTOR: u32 = 10;
/// What may be owed without consequences: 50 ms of a processor at once.
const CREDIT: Duration = Duration::from_millis(500);
/// What is owed at most: whoever stops is like others after that.
const MOST_OWED: Duration = Duration::from_secs(3);
/// Whoever has used a processor within this time is there.
const PRESENCE: Duration = Duration::from_millis(100);
/// Accounts that are kept before those are looked for that are even.
const ACCOUNTS: usize = 1_000;

/// What callers owe of the processor.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// When what who owes is paid.
    paid: HashMap<Uuid, Instant>,
    /// The last that used a processor, with when, the latest first. Three: somebody, their address, and another.
    lately: [Option<(Uuid, Instant)>; 3],
}

impl Accounts {
    /// Whether somebody owes more than their credit, and others are there. The address that they come from is nobody else:
    /// their operations are on its account until it is known whose they are.
    pub(super) fn gives_way(&self, account: Uuid, address: Uuid, now: Instant) -> bool {
        let is_other =
            |used: &(Uuid, Instant)| ![account, address].contains(&used.0) && now.duration_since(used.1) < PRESENCE;
        self.paid.get(&account).is_some_and(|paid| *paid > now + CREDIT) && self.lately.iter().flatten().any(is_other)
    }

    pub(super) fn charge(&mut self, account: Uuid, used: Duration, now: Instant) {
        if self.paid.len() >= ACCOUNTS {
            self.paid.retain(|_, paid| *paid > now);
        }
        let paid = self.paid.entry(account).or_insert(now);
        *paid = ((*paid).max(now) + used * FACTOR).min(now + MOST_OWED);
        let own = self.lately.iter().position(|used| used.is_some_and(|(other, _)| other == account));
        let place = own.unwrap_or(self.lately.len() - 1);
        self.lately[..=place].rotate_right(1);
        self.lately[0] = Some((account, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_owes_gives_way_while_others_are_there() {
        let (heavy, light, address) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let (mut accounts, now) = (Accounts::default(), Instant::now());
        let later = |millis| now + Duration::from_millis(millis);
        accounts.charge(light, Duration::from_millis(1), now);
        accounts.charge(heavy, CREDIT / FACTOR, now);
        assert!(!accounts.gives_way(heavy, address, now), "within the credit");
        accounts.charge(heavy, Duration::from_millis(20), now);
        assert!(accounts.gives_way(heavy, address, now) && !accounts.gives_way(light, address, now));
        assert!(!accounts.gives_way(heavy, address, later(150)), "nobody else is there");
        accounts.charge(address, Duration::from_millis(1), later(150));
        assert!(!accounts.gives_way(heavy, address, later(150)), "their own address is nobody else");
        accounts.charge(light, Duration::from_millis(1), later(150));
        accounts.charge(heavy, Duration::ZERO, later(150));
        accounts.charge(heavy, Duration::ZERO, later(150));
        assert!(accounts.gives_way(heavy, address, later(150)));
        accounts.charge(light, Duration::ZERO, later(210));
        assert!(!accounts.gives_way(heavy, address, later(210)), "it is paid");
        accounts.charge(heavy, Duration::from_secs(60), now);
        assert_eq!(accounts.paid.get(&heavy), Some(&(now + MOST_OWED)));
        for number in 0..2_000 {
            accounts.charge(
                Uuid::from_u128(number + 10),
                Duration::ZERO,
                later(5_000 + u64::try_from(number).unwrap_or(0)),
            );
        }
        assert!(accounts.paid.len() <= ACCOUNTS, "what is paid is not kept");
    }
}
