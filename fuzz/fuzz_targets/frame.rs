//! Binary frames: whatever comes is a frame or is refused, and a frame survives the way there and back.
#![no_main]

use cogo_protocol::frame::{HEADER_LEN, OutputHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok((header, output)) = OutputHeader::decode(bytes) else {
        return;
    };
    assert_eq!(output, &bytes[HEADER_LEN..]);
    let again = [&header.encode()[..], output].concat();
    assert_eq!(OutputHeader::decode(&again), Ok((header, output)));
});
