use std::sync::mpsc::channel;
use std::time::Duration;
fn main() {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(17));
        sender.send(7).unwrap();
    });
    println!("{:?}", receiver.recv_timeout(Duration::from_secs(60)));
}
