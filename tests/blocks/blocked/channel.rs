// A sender that is kept alive keeps the receiver waiting.
fn main() {
    let (sender, receiver) = std::sync::mpsc::channel::<u32>();
    let worker = std::thread::spawn(move || receiver.iter().sum::<u32>());
    sender.send(1).unwrap();
    std::fs::write("blocking", "").unwrap();
    println!("{}", worker.join().unwrap());
    drop(sender);
}
