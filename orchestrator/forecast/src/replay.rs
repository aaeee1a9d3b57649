//! A level that repeats what was recorded of it.
//!
//! What it writes at a position depends on the text and the position alone. That is exact as long as the tokens before are
//! the text's own; behind a token that the target would not have written everything is lost anyway, and who
//! accepts what there is taken to be as it was at the same place of the text. Lenience is not recorded: all reviews are
//! exact.

use std::sync::Arc;

use csd_level::{
    BoxFuture, Description, DraftToken, Kind, Level, Result, Timings, Verdict, VerifyRequest,
};

use crate::lineup::{Choice, Lineup, Member};

/// The level. A call's session is the number of its text.
pub struct Replay {
    description: Arc<Description>,
    choices: Arc<Vec<Vec<Choice>>>,
}

impl Replay {
    /// A member of a lineup.
    pub fn new(member: &Member, lineup: &Lineup) -> Self {
        let header = &lineup.header;
        let description = Description {
            name: member.name.clone(),
            kind: Kind::Neural,
            model: "recorded".into(),
            vocabulary: header.vocabulary,
            token_map: header.token_map.clone(),
            context: usize::MAX,
            rows: member.rows,
            dtype: String::new(),
            fallbacks: Vec::new(),
            device: member.host.clone(),
            exact: true,
            numerics: "recorded".into(),
            assisted: member.assisted,
            remembers: false,
            end_tokens: header.end_tokens.clone(),
            emulation: None,
        };
        Self {
            description: Arc::new(description),
            choices: member.choices.clone(),
        }
    }

    fn answer(&self, request: &VerifyRequest) -> Verdict {
        let (call, draft) = (&request.call, &request.draft.tokens);
        let begin = call.context.generated().len();
        let text = self.choices.get(call.session as usize);
        let own = text.and_then(|text| text.get(begin..)).unwrap_or_default();
        let same = draft.iter().zip(own);
        let mut accepted = same
            .take_while(|(drafted, own)| drafted.id == own.id)
            .count();
        let end = draft[..accepted]
            .iter()
            .position(|token| call.sampling.is_end(token.id));
        if let Some(end) = end {
            accepted = end + 1;
        }
        // Behind the end there is nothing to repeat.
        let next = own.get(accepted).filter(|_| end.is_none());
        Verdict {
            accepted,
            next: next.map(|own| DraftToken {
                probability: own.probability,
                gap: own.gap,
                ..DraftToken::bare(own.id, 0)
            }),
            probabilities: own[..accepted].iter().map(|own| own.probability).collect(),
            runners_up: vec![None; accepted],
            logprobs: Vec::new(),
            timings: Timings::default(),
        }
    }
}

impl Level for Replay {
    fn description(&self) -> Arc<Description> {
        self.description.clone()
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async move { Ok(self.answer(&request)) })
    }
}
