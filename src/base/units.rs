//! Units: what a number means, how it is written on the screen, and how it is read from a file.
//! Values are kept in the unit their source speaks; only the writing changes.

use std::time::Duration;

/// What a signal's number means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A plain number.
    #[default]
    None,
    /// A score between 0 and 1, two decimals.
    Score,
    /// A ratio between 0 and 1, written as a percentage.
    Ratio,
    /// Already a percentage.
    Percent,
    Seconds,
    Milliseconds,
    Bytes,
    /// Whole things.
    Count,
    /// Things per second.
    Rate,
    /// A point in time, in seconds since the Unix epoch.
    Timestamp,
}

impl Unit {
    /// The value as a person reads it: number and unit apart, so that the unit can be dimmed.
    pub fn split(self, value: f64) -> (String, &'static str) {
        if value.is_nan() {
            return ("NaN".into(), "");
        }
        if value.is_infinite() {
            return (if value > 0.0 { "+Inf" } else { "-Inf" }.into(), "");
        }
        match self {
            Unit::None => (plain(value), ""),
            Unit::Score => (format!("{value:.2}"), ""),
            Unit::Ratio => (percent(value * 100.0), " %"),
            Unit::Percent => (percent(value), " %"),
            Unit::Seconds => seconds(value),
            Unit::Milliseconds => seconds(value / 1000.0),
            Unit::Bytes => bytes(value),
            Unit::Count => (thousands(value), ""),
            Unit::Rate => (plain(value), "/s"),
            Unit::Timestamp => (crate::base::clock::Stamp::from_seconds(value).date_hm(), ""),
        }
    }

    pub fn format(self, value: f64) -> String {
        let (number, unit) = self.split(value);
        number + unit
    }

    /// A limit as it was meant: with as many digits as it takes to say it.
    pub fn format_limit(self, limit: f64) -> String {
        let short = self.format(limit);
        let (factor, unit) = self.written_as();
        if !limit.is_finite() || self == Unit::Timestamp || self.read(&short).is_some_and(|read| same(read, limit)) {
            return short;
        }
        let written = |digits: usize| format!("{:.digits$}", limit * factor);
        let digits = (0..=12).find(|digits| written(*digits).parse::<f64>().is_ok_and(|read| same(read / factor, limit)));
        digits.map_or_else(|| (limit * factor).to_string(), written) + unit
    }

    /// The value beside a limit: on the side of it that it is on, with as many digits as that takes.
    pub fn format_beside(self, value: f64, limit: f64) -> String {
        let short = self.format(value);
        if value == limit {
            return self.format_limit(limit);
        }
        if !value.is_finite() || !limit.is_finite() || self == Unit::Timestamp {
            return short;
        }
        let keeps_its_side = |read: f64| !same(read, limit) && (read > limit) == (value > limit);
        if self.read(&short).is_some_and(keeps_its_side) {
            return short;
        }
        let (factor, unit) = self.written_as();
        let fewest = match self {
            Unit::Seconds | Unit::Milliseconds | Unit::Bytes => 0,
            _ => short.trim_end_matches(unit).rsplit_once('.').map_or(0, |(_, decimals)| decimals.len()),
        };
        let written = |digits: usize| format!("{:.digits$}", value * factor);
        let digits = (fewest..=15).find(|digits| written(*digits).parse::<f64>().is_ok_and(|read| keeps_its_side(read / factor)));
        digits.map_or_else(|| (value * factor).to_string(), written) + unit
    }

    /// By what a value is multiplied to be written in one unit, and which.
    fn written_as(self) -> (f64, &'static str) {
        match self {
            Unit::Ratio => (100.0, " %"),
            Unit::Percent => (1.0, " %"),
            Unit::Seconds => (1.0, " s"),
            Unit::Milliseconds => (1.0, " ms"),
            Unit::Bytes => (1.0, " B"),
            Unit::Rate => (1.0, "/s"),
            Unit::None | Unit::Score | Unit::Count | Unit::Timestamp => (1.0, ""),
        }
    }

    /// A value as it was written for a person, read back.
    fn read(self, text: &str) -> Option<f64> {
        let read = magnitude(text)?;
        Some(match self {
            Unit::Ratio => read / 100.0,
            Unit::Milliseconds => read * 1000.0,
            _ => read,
        })
    }

    /// Reads a number that may carry a unit ("2500ms", "7 %", "2GiB", "0.85") into this unit.
    ///
    /// # Errors
    /// Says what was expected when the text is no number, or its unit is of another family.
    pub fn parse(self, text: &str) -> Result<f64, String> {
        let text = text.trim();
        let end = text.find(|c: char| !(c.is_ascii_digit() || "+-._eE".contains(c))).unwrap_or(text.len());
        // "5e3" is a number, "5m" is five minutes: an exponent needs digits behind it.
        let (number, suffix) = (text[..end].trim_end_matches(['e', 'E']), text[end..].trim());
        let value: f64 =
            number.replace('_', "").parse().map_err(|_| format!("`{text}` is not a number (write 0.85, 2500ms, 7% or 2GiB)"))?;
        if suffix.is_empty() {
            return Ok(value);
        }
        if suffix.starts_with(',') {
            return Err(format!("`{text}`: thousands are written without a comma, and parts with a dot"));
        }
        let time = match suffix {
            "ms" => Some(0.001),
            "s" => Some(1.0),
            "m" | "min" => Some(60.0),
            "h" => Some(3600.0),
            "d" => Some(86400.0),
            _ => None,
        };
        match (self, suffix, time) {
            (Unit::Timestamp, _, Some(_)) => {
                Err(format!("`{text}` is a length, and this is a point in time: ask how long ago it was, with unit = \"seconds\""))
            }
            (Unit::Seconds | Unit::None, _, Some(factor)) => Ok(value * factor),
            (Unit::Milliseconds, _, Some(factor)) => Ok(value * factor * 1000.0),
            (Unit::Ratio | Unit::Score, "%", _) => Ok(value / 100.0),
            (Unit::Percent, "%", _) | (Unit::Rate, "/s", _) => Ok(value),
            (Unit::None, "%", _) => {
                Err(format!("`{text}` of plain numbers: say with unit = \"ratio\" that 0.05 is 5%, or with unit = \"percent\" that 5 is"))
            }
            (Unit::Bytes | Unit::None, _, None) => text
                .parse::<bytesize::ByteSize>()
                .map(|size| size.as_u64() as f64)
                .map_err(|_| format!("`{suffix}` is not a size (write 512MiB or 2GiB)")),
            // Written in several parts, as `1h30m`.
            (Unit::Seconds, _, None) if duration(text).is_ok() => Ok(duration(text).unwrap_or_default().as_secs_f64()),
            _ => Err(format!("`{suffix}` does not fit a signal measured in {}", self.name())),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Unit::None => "plain numbers",
            Unit::Score => "scores",
            Unit::Ratio => "ratios",
            Unit::Percent => "percent",
            Unit::Seconds => "seconds",
            Unit::Milliseconds => "milliseconds",
            Unit::Bytes => "bytes",
            Unit::Count => "counts",
            Unit::Rate => "rates per second",
            Unit::Timestamp => "points in time",
        }
    }
}

/// The same but for what numbers cannot hold.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

/// How large something is that was written for a person: `95.0 s`, `500 µs`, `2h38m`, `1,200`, `26.7 MiB`, `3m ago`.
pub fn magnitude(text: &str) -> Option<f64> {
    let text = text.trim();
    let text = text.strip_suffix(" ago").unwrap_or(text).replace([',', '_'], "");
    let (mut rest, mut total, mut any) = (text.as_str(), 0.0, false);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        let behind = rest[end..].trim_start();
        let end = behind.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(behind.len());
        let factor = match &behind[..end] {
            "" | "%" | "s" | "B" | "/s" => 1.0,
            "ns" => 1e-9,
            "µs" | "us" => 1e-6,
            "ms" => 1e-3,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "y" => 365.0 * 86_400.0,
            unit => format!("1{unit}").parse::<bytesize::ByteSize>().ok()?.as_u64() as f64,
        };
        total += number * factor;
        any = true;
        rest = behind[end..].trim_start();
    }
    any.then_some(total)
}

fn plain(value: f64) -> String {
    let size = value.abs();
    if size >= 1e15 || (size > 0.0 && size < 1e-4) {
        format!("{value:.2e}")
    } else if size >= 1000.0 || value.fract() == 0.0 {
        thousands(value)
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.01 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

fn percent(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => thousands(value),
        size if size >= 100.0 => format!("{value:.0}"),
        0.0 => "0".into(),
        size if size < 0.1 => format!("{value:.2}"),
        _ => format!("{value:.1}"),
    }
}

pub fn thousands(value: f64) -> String {
    if value.abs() >= 1e15 {
        return format!("{value:.2e}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    if value < 0.0 && digits != "0" { format!("-{out}") } else { out }
}

fn seconds(value: f64) -> (String, &'static str) {
    let size = value.abs();
    if value == 0.0 {
        ("0".into(), " s")
    } else if size < 0.001 {
        (format!("{:.0}", value * 1e6), " µs")
    } else if size < 1.0 {
        (format!("{:.0}", value * 1e3), " ms")
    } else if size < 10.0 {
        (format!("{value:.2}"), " s")
    } else if size < 100.0 {
        (format!("{value:.1}"), " s")
    } else {
        (format!("{}{}", if value < 0.0 { "-" } else { "" }, short(Duration::from_secs_f64(size.min(1e12)))), "")
    }
}

fn bytes(value: f64) -> (String, &'static str) {
    const NAMES: [&str; 6] = [" B", " KiB", " MiB", " GiB", " TiB", " PiB"];
    let mut scaled = value;
    let mut name = 0;
    while scaled.abs() >= 1024.0 && name + 1 < NAMES.len() {
        scaled /= 1024.0;
        name += 1;
    }
    let number = if name == 0 || scaled.abs() >= 100.0 { format!("{scaled:.0}") } else { format!("{scaled:.1}") };
    (number, NAMES[name])
}

/// A duration in one or two units: `850ms`, `41s`, `4m12s`, `6h`, `3d`.
pub fn short(duration: Duration) -> String {
    let s = duration.as_secs();
    match s {
        0 if duration.is_zero() => "0s".into(),
        0 => format!("{}ms", duration.as_millis()),
        1..=59 => format!("{s}s"),
        60..=3599 if s.is_multiple_of(60) || s >= 600 => format!("{}m", s / 60),
        60..=3599 => format!("{}m{:02}s", s / 60, s % 60),
        3600..=86399 if (s / 60).is_multiple_of(60) || s >= 36000 => format!("{}h", s / 3600),
        3600..=86399 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ if s < 864_000 && !(s / 3600).is_multiple_of(24) => format!("{}d{}h", s / 86400, s / 3600 % 24),
        _ => format!("{}d", s / 86400),
    }
}

/// How many of something: `1 row`, `1,284 rows`.
pub fn count_of(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {what}{s}", thousands(count as f64))
}

/// A duration as a stop-watch shows it: `2:10`, `1:02:10`.
pub fn watch(duration: Duration) -> String {
    let s = duration.as_secs();
    if s < 3600 { format!("{}:{:02}", s / 60, s % 60) } else { format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60) }
}

/// What is longer was not meant so.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Reads `3m`, `1h30m`, `250ms`.
///
/// # Errors
/// Says how to write it when the text is no duration, or is zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    // A slip that nobody sees for months.
    if text.contains('M') {
        return Err(format!("`{text}` is not a duration: minutes are a small m (write 5s, 3m or 1h30m)"));
    }
    match humantime::parse_duration(text.trim()) {
        Ok(d) if d > LONGEST => Err(format!("`{text}` is more than ten years (write 5s, 3m or 1h30m)")),
        Ok(d) if d.is_zero() => Err(format!("`{text}` is no time at all (write 5s, 3m or 1h30m)")),
        Ok(d) => Ok(d),
        Err(_) => Err(format!("`{text}` is not a duration (write 5s, 3m or 1h30m)")),
    }
}

/// Reads `2GiB`, `512KiB`, in bytes.
///
/// # Errors
/// Says how to write it when the text is no size.
pub fn size(text: &str) -> Result<u64, String> {
    text.trim()
        .parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| format!("`{text}` is not a size (write 512KiB, 64MiB or 2GiB)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_said_as_they_are_meant_and_values_on_their_side() {
        let told = |unit: Unit, value: f64, limit: f64| format!("{} {}", unit.format_beside(value, limit), unit.format_limit(limit));
        assert_eq!(told(Unit::Percent, 99.96, 99.95), "100.0 % 99.95 %");
        assert_eq!(told(Unit::Ratio, 0.9994, 0.9995), "99.9 % 99.95 %");
        assert_eq!(told(Unit::Score, 0.7499, 0.75), "0.7499 0.75");
        assert_eq!(told(Unit::Score, 0.8501, 0.85), "0.8501 0.85");
        assert_eq!(told(Unit::Count, 2.6, 2.5), "3 2.5");
        assert_eq!(told(Unit::Count, 2.5, 2.5), "2.5 2.5");
        assert_eq!(told(Unit::Seconds, 3599.0, 3598.0), "3599 s 3598 s");
        assert_eq!(told(Unit::Milliseconds, 14.9, 14.5), "15 ms 14.5 ms");
        assert_eq!(told(Unit::Ratio, 0.081, 0.07), "8.1 % 7.0 %");
        assert_eq!(told(Unit::Seconds, 2.6, 2.5), "2.60 s 2.50 s");
        assert_eq!(told(Unit::Bytes, 3.0 * 1024.0 * 1024.0 * 1024.0, 2.0 * 1024.0 * 1024.0 * 1024.0), "3.0 GiB 2.0 GiB");
    }

    #[test]
    fn a_number_is_told_from_a_limit_that_it_is_not() {
        assert_eq!(Unit::None.format_beside(5.000_001, 5.0), "5.000001", "however the limit itself is written");
        assert_eq!(Unit::Ratio.format_beside(0.069_99, 0.07), "6.999 %");
        assert_eq!(Unit::None.format_beside(5.0, 5.0), Unit::None.format(5.0));
        assert_eq!(Unit::None.format_beside(9.0, 5.0), Unit::None.format(9.0));
        assert!(duration("5M").is_err_and(|why| why.contains("small m")) && duration("5m").is_ok());
    }

    #[test]
    fn numbers_as_a_person_reads_them() {
        let cases = [
            (Unit::Score, 0.8149, "0.81"),
            (Unit::Ratio, 0.0812, "8.1 %"),
            (Unit::Ratio, 0.0004, "0.04 %"),
            (Unit::Seconds, 1.234, "1.23 s"),
            (Unit::Seconds, 0.0421, "42 ms"),
            (Unit::Milliseconds, 2500.0, "2.50 s"),
            (Unit::Seconds, 252.0, "4m12s"),
            (Unit::Bytes, 432_013_312.0, "412 MiB"),
            (Unit::Count, 18_204.0, "18,204"),
            (Unit::Count, -0.2, "0"),
            (Unit::Rate, 12.3, "12.3/s"),
            (Unit::None, f64::NAN, "NaN"),
            (Unit::None, 1e300, "1.00e300"),
        ];
        for (unit, value, want) in cases {
            assert_eq!(unit.format(value), want);
        }
    }

    #[test]
    fn numbers_as_a_file_writes_them() {
        let good = [
            (Unit::Seconds, "2500ms", 2.5),
            (Unit::Milliseconds, "2.5s", 2500.0),
            (Unit::Ratio, "7 %", 0.07),
            (Unit::Score, "0.85", 0.85),
            (Unit::Bytes, "2GiB", 2_147_483_648.0),
            (Unit::Count, "1e3", 1000.0),
            (Unit::Seconds, "15m", 900.0),
        ];
        for (unit, text, want) in good {
            assert!((unit.parse(text).unwrap() - want).abs() < 1e-9, "{text}");
        }
        for (unit, text) in [(Unit::Score, "3m"), (Unit::Seconds, "2GiB"), (Unit::None, "much"), (Unit::Ratio, "")] {
            assert!(unit.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_both_ways() {
        let cases =
            [(0, "0s"), (41, "41s"), (130, "2m10s"), (252, "4m12s"), (900, "15m"), (5400, "1h30m"), (21_600, "6h"), (259_200, "3d")];
        for (seconds, want) in cases {
            assert_eq!(short(Duration::from_secs(seconds)), want);
        }
        assert_eq!(watch(Duration::from_secs(130)), "2:10");
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("0s").is_err() && duration("soon").is_err());
        assert_eq!((Unit::Seconds.parse("1h10m"), Unit::Seconds.parse("1h10x").is_err()), (Ok(4200.0), true));
    }
}
