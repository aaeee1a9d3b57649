//! How long a call may take: the header `grpc-timeout`.

use std::time::Duration;

use csd_level::{Error, Result};
use http::HeaderMap;

const HEADER: &str = "grpc-timeout";

/// What a caller allows; `None` when it does not say.
///
/// # Errors
/// [`Error::Invalid`] when the header is not up to eight digits and one of the units H, M, S, m, u, n.
pub fn from_headers(headers: &HeaderMap) -> Result<Option<Duration>> {
    let Some(value) = headers.get(HEADER) else {
        return Ok(None);
    };
    let malformed = || {
        let reason = "must be one to eight digits and a unit of H, M, S, m, u, n";
        Error::invalid(HEADER, reason)
    };
    let text = value.to_str().map_err(|_| malformed())?;
    let unit = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = text.split_at(unit.ok_or_else(malformed)?);
    if digits.len() > 8 {
        return Err(malformed());
    }
    let number: u64 = digits.parse().map_err(|_| malformed())?;
    Ok(Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(malformed()),
    }))
}

/// When a server answers that the time is up: a little early, so that the answer arrives and says why.
pub fn answer_within(timeout: Duration) -> Duration {
    timeout - (timeout / 16).min(Duration::from_millis(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Duration>> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, text.parse().expect("a header value"));
        from_headers(&headers)
    }

    #[test]
    fn units_are_those_of_the_specification() {
        assert_eq!(
            parse("99999999H"),
            Ok(Some(Duration::from_secs(99_999_999 * 3600)))
        );
        assert_eq!(parse("2M"), Ok(Some(Duration::from_secs(120))));
        assert_eq!(parse("3S"), Ok(Some(Duration::from_secs(3))));
        assert_eq!(parse("50m"), Ok(Some(Duration::from_millis(50))));
        assert_eq!(parse("7u"), Ok(Some(Duration::from_micros(7))));
        assert_eq!(parse("0n"), Ok(Some(Duration::ZERO)));
        assert_eq!(from_headers(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn malformed_ones_are_refused_by_name() {
        for text in [
            "",
            "5",
            "S",
            "5s",
            "123456789S",
            "-5S",
            "5 S",
            "5mS",
            "+5S",
            "5.5S",
        ] {
            let Err(Error::Invalid { field, .. }) = parse(text) else {
                panic!("{text:?} passed");
            };
            assert_eq!(field, HEADER);
        }
    }
}
