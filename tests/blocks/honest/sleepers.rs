use std::time::Duration;
fn main() {
    let sleeper = |n| std::thread::spawn(move || std::thread::sleep(Duration::from_secs(n)));
    for thread in [3, 15, 9].map(sleeper) {
        thread.join().unwrap();
    }
}
