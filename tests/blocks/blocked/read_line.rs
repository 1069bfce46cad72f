fn main() {
    std::fs::write("blocking", "").unwrap();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    println!("{line}");
}
