//! JSON messages in both directions: read or refused, and what was read means the same when it is
//! written and read again.
#![no_main]

use cogo_protocol::message::{FromWorker, ToWorker};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(message) = ToWorker::parse(text) {
        let again = serde_json::to_string(&message).expect("a message can be written");
        assert_eq!(ToWorker::parse(&again).ok(), Some(message), "{again}");
    }
    if let Ok(message) = serde_json::from_str::<FromWorker>(text) {
        let again = serde_json::to_string(&message).expect("a message can be written");
        assert_eq!(serde_json::from_str(&again).ok(), Some(message), "{again}");
    }
});
