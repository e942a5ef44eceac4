//! Time as the program sees it. One type for "when" ([`Stamp`], milliseconds since the Unix epoch, UTC) so that
//! readings, samples and rules can be compared without conversions, and one clock that tests can set.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, FixedOffset, Local, Offset, Utc};
use serde::{Deserialize, Serialize};

/// Whether times are shown in the zone of this machine instead of UTC. Records are always UTC, and say so.
static LOCAL: AtomicBool = AtomicBool::new(false);

/// Shows times in the zone of this machine from now on, or in UTC.
pub fn show_local(local: bool) {
    LOCAL.store(local, Ordering::Relaxed);
}

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Stamp(pub i64);

impl Stamp {
    /// The time between `earlier` and this; zero when `earlier` lies in the future.
    pub fn since(self, earlier: Stamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    pub fn plus(self, by: Duration) -> Stamp {
        Stamp(self.0.saturating_add(millis(by)))
    }

    pub fn minus(self, by: Duration) -> Stamp {
        Stamp(self.0.saturating_sub(millis(by)))
    }

    /// The last multiple of `step` at or before this.
    pub fn align(self, step: Duration) -> Stamp {
        let step = millis(step).max(1);
        Stamp(self.0.div_euclid(step) * step)
    }

    /// Seconds since the epoch, as APIs write them.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    pub fn from_seconds(seconds: f64) -> Stamp {
        Stamp((seconds * 1000.0).round() as i64)
    }

    fn date_time(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }

    /// The day, UTC.
    pub fn day(self) -> chrono::NaiveDate {
        self.date_time().date_naive()
    }

    /// As this process shows times.
    fn shown(self) -> DateTime<FixedOffset> {
        let at = self.date_time();
        if LOCAL.load(Ordering::Relaxed) { at.with_timezone(&Local).fixed_offset() } else { at.fixed_offset() }
    }

    /// `03:12:44`.
    pub fn hms(self) -> String {
        self.shown().format("%H:%M:%S").to_string()
    }

    /// `03:12`.
    pub fn hm(self) -> String {
        self.shown().format("%H:%M").to_string()
    }

    /// What belongs behind a time that stands alone: `Z`, or `+02:00`.
    pub fn zone(self) -> String {
        match self.shown().offset().fix().local_minus_utc() {
            0 => "Z".into(),
            _ => self.shown().format("%:z").to_string(),
        }
    }

    /// `2026-11-12 02:40`: of any year, for whoever has no now to hold it against.
    pub fn date_hm(self) -> String {
        self.shown().format("%Y-%m-%d %H:%M").to_string()
    }

    /// The same beside a now: of another year with its year.
    pub fn when(self, now: Stamp) -> String {
        let same = self.shown().format("%Y").to_string() == now.shown().format("%Y").to_string();
        self.shown().format(if same { "%m-%d %H:%M" } else { "%Y-%m-%d %H:%M" }).to_string()
    }

    /// The time of this day, or the day of another one.
    pub fn today(self, now: Stamp) -> String {
        if self.shown().date_naive() == now.shown().date_naive() { self.hms() } else { self.when(now) }
    }

    /// The same without seconds, as behind `since`.
    pub fn since_when(self, now: Stamp) -> String {
        if self.shown().date_naive() == now.shown().date_naive() { self.hm() } else { self.when(now) }
    }

    /// `2026-11-12T02:40:07.000Z`.
    pub fn iso(self) -> String {
        self.date_time().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    }

    /// Reads RFC 3339, and the zone-less form some servers write (taken as UTC).
    pub fn parse(text: &str) -> Option<Stamp> {
        let text = text.trim();
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Some(Stamp(at.timestamp_millis()));
        }
        for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"] {
            if let Ok(at) = chrono::NaiveDateTime::parse_from_str(text, format) {
                return Some(Stamp(at.and_utc().timestamp_millis()));
            }
        }
        DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").ok().map(|at| Stamp(at.timestamp_millis()))
    }

    /// Reads the `Date` header of an HTTP answer.
    pub fn parse_http(text: &str) -> Option<Stamp> {
        DateTime::parse_from_rfc2822(text).ok().map(|at| Stamp(at.timestamp_millis()))
    }
}

impl TryFrom<String> for Stamp {
    type Error = String;

    fn try_from(text: String) -> Result<Stamp, String> {
        Stamp::parse(&text).ok_or_else(|| format!("`{text}` is not a time"))
    }
}

impl From<Stamp> for String {
    fn from(stamp: Stamp) -> String {
        stamp.iso()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Where "now" comes from. Clones share the same time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    Fake(Arc<AtomicI64>),
}

impl Clock {
    pub fn fake(at: Stamp) -> Clock {
        Clock::Fake(Arc::new(AtomicI64::new(at.0)))
    }

    pub fn now(&self) -> Stamp {
        match self {
            Clock::System => Stamp(Utc::now().timestamp_millis()),
            Clock::Fake(at) => Stamp(at.load(Ordering::SeqCst)),
        }
    }

    /// Lets time pass on a fake clock; the system's goes by itself.
    pub fn advance(&self, by: Duration) {
        if let Clock::Fake(at) = self {
            at.fetch_add(millis(by), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_dates_servers_write() {
        let cases = [
            ("2026-11-20T14:49:11Z", 1_795_186_151_000),
            ("2026-11-20T14:49:11", 1_795_186_151_000),
            ("2026-11-20 14:49:11.250", 1_795_186_151_250),
            ("2026-11-20 15:49:11+01", 1_795_186_151_000),
            ("2026-11-20T15:49:11.5+01:00", 1_795_186_151_500),
        ];
        for (text, want) in cases {
            assert_eq!(Stamp::parse(text), Some(Stamp(want)), "{text}");
        }
        assert_eq!(Stamp::parse("yesterday"), None);
        assert_eq!(Stamp::parse_http("Fri, 20 Nov 2026 14:49:11 GMT"), Some(Stamp(1_795_186_151_000)));
    }

    #[test]
    fn the_past_is_never_negative() {
        assert_eq!(Stamp(5).since(Stamp(9)), Duration::ZERO);
        assert_eq!(Stamp(12_345).align(Duration::from_secs(5)), Stamp(10_000));
        assert_eq!(Stamp(-1).align(Duration::from_secs(5)), Stamp(-5_000));
    }
}
