//! Plans: read and checked, or refused with a place that is in the text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(plan) = cogo_plan::read::read(text) {
        let _ = cogo_plan::check::check(&plan);
    }
});
