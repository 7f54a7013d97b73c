//! The `Range` header of a request for bytes that are computed: one range, as players send it (RFC 9110, section 14.2).

use axum::http::HeaderMap;
use axum::http::header::{IF_RANGE, RANGE};

/// The bytes that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All bytes.
    All,
    /// Bytes from the first to the last, both included.
    Part(u64, u64),
    /// A range that begins behind the end.
    Outside,
}

/// The bytes of `length` that a request asks for. Several ranges, units other than bytes and ranges of something that has
/// changed are answered with all bytes.
pub(super) fn wanted(headers: &HeaderMap, etag: &str, length: u64) -> Wanted {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    if text(IF_RANGE).is_some_and(|expected| expected != etag) {
        return Wanted::All;
    }
    let mut ranges = headers.get_all(RANGE).iter();
    let range = match (ranges.next(), ranges.next()) {
        (Some(range), None) => range.to_str().ok(),
        _ => None,
    };
    let set = |range: &'_ str| {
        let (unit, set) = range.split_once('=')?;
        unit.eq_ignore_ascii_case("bytes").then_some(set.trim().to_string())
    };
    let Some(set) = range.and_then(set) else { return Wanted::All };
    let Some((first, last)) = set.split_once('-') else { return Wanted::All };
    let number = |text: &str| -> Option<u64> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().unwrap_or(u64::MAX))
    };
    let end = length.saturating_sub(1);
    match (first.is_empty(), last.is_empty(), number(first), number(last)) {
        (false, true, Some(first), _) if first < length => Wanted::Part(first, end),
        (false, false, Some(first), Some(last)) if first > last => Wanted::All,
        (false, false, Some(first), Some(last)) if first < length => Wanted::Part(first, last.min(end)),
        (true, false, _, Some(count)) if count > 0 && length > 0 => Wanted::Part(length.saturating_sub(count), end),
        (true, false, _, Some(_)) | (false, _, Some(_), Some(_)) => Wanted::Outside,
        _ => Wanted::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_standard() {
        let mut two = HeaderMap::new();
        two.append(RANGE, "bytes=0-1".parse().unwrap());
        two.append(RANGE, "bytes=2-3".parse().unwrap());
        assert_eq!(super::wanted(&two, "", 100), Wanted::All);
        let wanted = |range: &str, if_range: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, range.parse().unwrap());
            if let Some(value) = if_range {
                headers.insert(IF_RANGE, value.parse().unwrap());
            }
            super::wanted(&headers, "\"a\"", 100)
        };
        assert_eq!(wanted("bytes=0-", None), Wanted::Part(0, 99));
        assert_eq!(wanted("Bytes=10-19", None), Wanted::Part(10, 19));
        assert_eq!(wanted("bytes=10-19", None), Wanted::Part(10, 19));
        assert_eq!(wanted("bytes=90-1000", None), Wanted::Part(90, 99));
        assert_eq!(wanted("bytes=-10", None), Wanted::Part(90, 99));
        assert_eq!(wanted("bytes=-1000", None), Wanted::Part(0, 99));
        assert_eq!(wanted("bytes=0-18446744073709551616", None), Wanted::Part(0, 99));
        for range in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(wanted(range, None), Wanted::Outside, "{range}");
        }
        for range in [
            "bytes=20-10",
            "bytes=0-1,5-6",
            "bytes=a-b",
            "bytes=-",
            "bytes=+1-2",
            "items=0-1",
            "bytes",
            "foo",
            "=0-1",
            "",
        ] {
            assert_eq!(wanted(range, None), Wanted::All, "{range}");
        }
        assert_eq!(wanted("bytes=0-9", Some("\"a\"")), Wanted::Part(0, 9));
        assert_eq!(wanted("bytes=0-9", Some("\"b\"")), Wanted::All);
        assert_eq!(super::wanted(&HeaderMap::new(), "", 100), Wanted::All);
    }
}
