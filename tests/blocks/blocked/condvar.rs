use std::sync::{Arc, Condvar, Mutex};
fn main() {
    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let other = Arc::clone(&pair);
    // It tells before anyone listens, and never sets what is waited for.
    std::thread::spawn(move || other.1.notify_all()).join().unwrap();
    std::fs::write("blocking", "").unwrap();
    let mut ready = pair.0.lock().unwrap();
    while !*ready {
        ready = pair.1.wait(ready).unwrap();
    }
}
