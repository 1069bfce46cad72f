use std::sync::atomic::{AtomicBool, Ordering};
static DONE: AtomicBool = AtomicBool::new(false);
fn main() {
    std::fs::write("blocking", "").unwrap();
    while !DONE.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
}
