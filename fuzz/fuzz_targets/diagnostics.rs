//! Output of tools, in pieces: what it says does not depend on where the pieces end.
#![no_main]

use cogo_plan::diagnostic::Parser;
use cogo_protocol::record::Stream;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: (Vec<u8>, u8)| {
    let (output, piece) = case;
    let whole = Parser::new(None).parse(&output);
    let mut parser = Parser::new(None);
    let mut pieces = Vec::new();
    for piece in output.chunks(usize::from(piece) + 1) {
        pieces.extend(parser.feed(Stream::Stdout, piece));
    }
    pieces.extend(parser.finish());
    assert_eq!(whole, pieces);
});
