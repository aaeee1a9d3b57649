//! Log-probabilities through real processes: those of the target alone, bit for bit, whoever drafted the text.

use csd_tests::{Up, prompts};
use serde_json::{Value, json};

#[test]
fn every_plan_says_of_a_text_what_the_target_alone_says() {
    let up = Up::start("config/tiny.toml").expect("the bundled cascade comes up");
    let lines = prompts::golden().expect("recorded prompts");
    for line in lines.iter().step_by(16) {
        for temperature in [0.0, 0.9] {
            let mut body = json!({
                "prompt": line.prompt, "max_tokens": 40, "temperature": temperature, "seed": 3,
                "logprobs": 5, "echo": true, "cascade": "off",
            });
            let own = choice(&up, &body);
            let said = own["logprobs"]["token_logprobs"].as_array();
            let said = said.expect("a list").iter().skip(1);
            assert!(
                said.map(Value::as_f64)
                    .all(|said| said.is_some_and(f64::is_finite))
            );
            for plan in [json!(null), json!("paper-mmlu"), json!("paper-llama")] {
                body["cascade"] = plan;
                assert_eq!(choice(&up, &body), own, "{}", body["cascade"]);
            }
        }
    }
}

fn choice(up: &Up, body: &Value) -> Value {
    let mut answer = up.complete(body).expect("an answer");
    answer["choices"][0].take()
}
