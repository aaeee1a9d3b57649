//! Server-sent events, the part of them that completions use: the data of each event.

/// Puts events together from the pieces in which a body arrives.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Bytes of a line that has not ended.
    rest: Vec<u8>,
    /// Data lines of an event that has not ended.
    data: Option<String>,
}

impl Events {
    /// Takes the next piece of the body and answers the data of each event that it completes.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        for &byte in piece {
            if byte != b'\n' {
                self.rest.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.rest);
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
            if line.is_empty() {
                events.extend(self.data.take());
            } else if let Some(value) = line.strip_prefix("data:") {
                let value = value.strip_prefix(' ').unwrap_or(value);
                match &mut self.data {
                    None => self.data = Some(value.to_owned()),
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                }
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = ": hello\n\ndata: {\"text\":\"é\"}\n\nevent: x\r\ndata:one\r\ndata: two\r\n\r\ndata: [DONE]\n\n";

    #[test]
    fn events_are_the_same_however_the_body_is_cut() {
        let expected = ["{\"text\":\"é\"}", "one\ntwo", "[DONE]"];
        assert_eq!(Events::default().push(BODY.as_bytes()), expected);
        for size in 1..BODY.len() {
            let mut events = Events::default();
            let cut: Vec<_> = BODY
                .as_bytes()
                .chunks(size)
                .flat_map(|piece| events.push(piece))
                .collect();
            assert_eq!(cut, expected, "pieces of {size}");
        }
    }

    #[test]
    fn an_unfinished_event_is_none() {
        assert!(Events::default().push(b"data: {\"text\":").is_empty());
        assert!(Events::default().push(b"data: whole\n").is_empty());
    }
}
