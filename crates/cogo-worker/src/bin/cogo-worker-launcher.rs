//! The launcher roles alone, without the `cogo` program around them: what this crate's tests
//! start.

fn main() {
    cogo_sandbox::launcher::run_if_asked(std::env::args_os().next().as_deref());
    eprintln!("error: this program only runs as a launcher of cogo; run `cogo` instead");
    std::process::exit(125);
}
