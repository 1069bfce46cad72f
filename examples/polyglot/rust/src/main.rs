//! Reads `pattern<TAB>text` lines and answers each with `yes` or `no`.

use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (pattern, text) = line.split_once('\t').unwrap_or((&line, ""));
        writeln!(
            output,
            "{}",
            if wildcard::matches(pattern, text) {
                "yes"
            } else {
                "no"
            }
        )?;
    }
    output.flush()
}
