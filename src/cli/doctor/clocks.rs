//! Clocks that should agree: leases, limits and the order of events go by several machines' time.

use chrono::Duration;

use super::finding::Finding;

const WARN: Duration = Duration::seconds(2);
const FAIL: Duration = Duration::seconds(30);

/// Of this machine's clock and the one of `whose`.
pub fn compare(whose: &str, skew: Duration) -> Finding {
    let millis = skew.num_milliseconds();
    let direction = if millis < 0 { "behind" } else { "ahead of" };
    let found = format!("the clock of {whose} is {} ms {direction} this machine's", millis.abs());
    let advice = "have all machines follow the same time servers (chrony, systemd-timesyncd)";
    match skew.abs() {
        skew if skew > FAIL => Finding::failed("clock", found, advice),
        skew if skew > WARN => Finding::warning("clock", found, advice),
        _ => Finding::ok("clock", found),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Status, *};

    #[test]
    fn clocks_may_differ_by_two_seconds() {
        let status = |millis| compare("Redis", Duration::milliseconds(millis)).status;
        assert_eq!([0, 2_000, -2_000].map(status), [Status::Ok; 3]);
        assert_eq!([2_001, -2_001, 30_000].map(status), [Status::Warning; 3]);
        assert_eq!([30_001, -86_400_000].map(status), [Status::Failed; 2]);
        assert!(compare("Redis", Duration::milliseconds(-5)).found.contains("5 ms behind"));
    }
}
