// Waits for a child that waits for its reader.
use std::process::{Command, Stdio};
fn main() {
    let mut child = Command::new("seq").arg("1000000").stdout(Stdio::piped()).spawn().unwrap();
    std::fs::write("blocking", "").unwrap();
    println!("{}", child.wait().unwrap());
}
