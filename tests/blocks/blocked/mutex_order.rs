use std::sync::{Arc, Barrier, Mutex};
fn main() {
    let locks = Arc::new((Mutex::new(0), Mutex::new(0), Barrier::new(2)));
    let other = Arc::clone(&locks);
    std::fs::write("blocking", "").unwrap();
    let thread = std::thread::spawn(move || {
        let _second = other.1.lock().unwrap();
        other.2.wait();
        *other.0.lock().unwrap() += 1;
    });
    let _first = locks.0.lock().unwrap();
    locks.2.wait();
    *locks.1.lock().unwrap() += 1;
    thread.join().unwrap();
}
