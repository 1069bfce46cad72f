use std::io::Write;
use std::process::{Command, Stdio};
fn main() {
    let mut child = Command::new("sleep").arg("1000").stdin(Stdio::piped()).spawn().unwrap();
    std::fs::write("blocking", "").unwrap();
    child.stdin.as_mut().unwrap().write_all(&vec![b'x'; 1 << 20]).unwrap();
    child.wait().unwrap();
}
