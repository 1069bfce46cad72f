# Tests that share a resource, run beside each other by cargo.
mkdir -p shared/src
printf '[package]\nname = "shared"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n' > shared/Cargo.toml
cat > shared/src/lib.rs <<'RUST'
#[cfg(test)]
mod tests {
    use std::sync::{Mutex, atomic::{AtomicUsize, Ordering}};
    static ONE: Mutex<()> = Mutex::new(());
    static TWO: Mutex<()> = Mutex::new(());
    static INSIDE: AtomicUsize = AtomicUsize::new(0);
    fn both(first: &Mutex<()>, second: &Mutex<()>) {
        let _first = first.lock().unwrap();
        INSIDE.fetch_add(1, Ordering::SeqCst);
        for _ in 0..15 {
            if INSIDE.load(Ordering::SeqCst) > 1 { break }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let _second = second.lock().unwrap();
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
    #[test]
    fn one_two() { both(&ONE, &TWO) }
    #[test]
    fn two_one() { both(&TWO, &ONE) }
}
RUST
cd shared && cargo test -q --offline --no-run
