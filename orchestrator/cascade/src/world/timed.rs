//! A level whose calls take time.

use std::{sync::Arc, time::Duration};

use csd_level::{
    Assistant, BoxFuture, Clock as _, Description, Draft, DraftRequest, Kind, Level, Result,
    Timings, Verdict, VerifyRequest, writing::write,
};

use super::{Host, Time};

/// What calls of a level cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// A forward by its rows, the first of one row. As many rows more cost as much again; nothing here costs nothing.
    pub forward: Vec<Duration>,
    /// To the level and back.
    pub link: Duration,
}

impl Price {
    /// Milliseconds of a forward, the rows it costs that for, and of a round trip.
    pub fn ms(forward: f64, rows: usize, link: f64) -> Self {
        Self::staircase(&vec![forward; rows], link)
    }

    /// Milliseconds of a forward of one row, of two and so on, and of a round trip.
    pub fn staircase(forward: &[f64], link: f64) -> Self {
        let duration = |ms: f64| Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default();
        Self {
            forward: forward.iter().copied().map(duration).collect(),
            link: duration(link),
        }
    }

    /// A forward of so many rows.
    pub fn of(&self, rows: usize) -> Duration {
        let Some(whole) = self.forward.last() else {
            return Duration::ZERO;
        };
        let (times, rest) = (rows / self.forward.len(), rows % self.forward.len());
        let rest = rest.checked_sub(1).and_then(|last| self.forward.get(last));
        *whole * times as u32 + rest.copied().unwrap_or_default()
    }
}

/// A level of a world. Its own calls take no time; here they do.
pub struct Timed {
    inner: Arc<dyn Level>,
    assistant: Option<Arc<dyn Assistant>>,
    price: Arc<Price>,
    host: Host,
    time: Time,
}

impl Timed {
    /// A level on a host of its own.
    pub fn new(inner: Arc<dyn Level>, price: Price, time: &Time) -> Self {
        Self {
            inner,
            assistant: None,
            price: Arc::new(price),
            host: Host::default(),
            time: time.clone(),
        }
    }

    /// The same on a host that others may be on, too.
    #[must_use]
    pub fn on(self, host: &Host) -> Self {
        let host = host.clone();
        Self { host, ..self }
    }

    /// The same with a Max-Gram in its process, which takes no time.
    #[must_use]
    pub fn assisted(self, assistant: Arc<dyn Assistant>) -> Self {
        let assistant = Some(assistant);
        Self { assistant, ..self }
    }

    async fn forward(&self, rows: usize) -> Timings {
        let now = self.time.now();
        let forward = self.host.compute(&self.time, &self.price, rows).await;
        Timings {
            queue: forward.begin.saturating_sub(now),
            forward: forward.end.saturating_sub(forward.begin),
            rows,
            batch: forward.batch,
            ..Timings::default()
        }
    }
}

impl Level for Timed {
    fn description(&self) -> Arc<Description> {
        self.inner.description()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        Box::pin(async move {
            self.time.sleep(self.price.link / 2).await;
            let draft = match self.inner.description().kind {
                Kind::Neural => write(&Near(self), self.assistant.as_deref(), request).await,
                Kind::Statistical => self.inner.draft(request).await,
            };
            self.time.sleep(self.price.link / 2).await;
            draft
        })
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async move {
            self.time.sleep(self.price.link / 2).await;
            let verdict = Near(self).verify(request).await;
            self.time.sleep(self.price.link / 2).await;
            verdict
        })
    }
}

/// The same level, without the way to it.
struct Near<'a>(&'a Timed);

impl Level for Near<'_> {
    fn description(&self) -> Arc<Description> {
        self.0.inner.description()
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async move {
            let timings = self.0.forward(request.draft.len() + 1).await;
            let verdict = self.0.inner.verify(request).await?;
            Ok(Verdict { timings, ..verdict })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_costs_what_its_rows_do() {
        let tiles = Price::ms(30.0, 4, 0.0);
        let ms = [0, 1, 4, 5, 8, 9].map(|rows| tiles.of(rows).as_millis());
        assert_eq!(ms, [0, 30, 30, 60, 60, 90]);
        let measured = Price {
            forward: [3, 4, 6].map(Duration::from_millis).to_vec(),
            link: Duration::ZERO,
        };
        let ms = [1, 2, 3, 4, 6].map(|rows| measured.of(rows).as_millis());
        assert_eq!(ms, [3, 4, 6, 9, 12]);
        assert_eq!(Price::ms(1.0, 0, 0.0).of(7), Duration::ZERO);
    }
}
