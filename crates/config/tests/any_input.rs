//! Nothing that can stand in a configuration file makes reading it panic.

use std::path::Path;

use logferry_config::parse;
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_text_is_judged_without_a_panic(text: String) {
        let _ = parse(&text, Path::new("c.yaml"), &|_| None);
    }

    #[test]
    fn any_value_is_judged_without_a_panic(value in "[ -~é\n]{0,20}") {
        let value = format!("{value:?}");
        let text = format!(
            "sender: {{relay: {value}, source: {value}, state_dir: {value}, in_flight: {value}, metrics: {value},\n\
             chunk: {{max_bytes: {value}, max_delay: {value}}}, logs: [{{path: {value}, name: {value}}}]}}\n\
             relay: {{groups: [{{name: {value}, listen: {value}, sources: [{value}]}}],\n\
             batch: {{window: {value}, name: {value}, timestamp: {value}}}}}\n\
             monitor: {{expected_sources: [{value}], smtp: {{host: {value}, from: {value}, to: [{value}]}}}}\n"
        );
        let _ = parse(&text, Path::new("c.yaml"), &|_| None);
    }
}
