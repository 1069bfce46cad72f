# A build whose library is cut short behind a fingerprint that fits.
mkdir -p crate/src crate/base/src
printf '[package]\nname = "top"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nbase = { path = "base" }\n[workspace]\n' > crate/Cargo.toml
printf '[package]\nname = "base"\nversion = "0.1.0"\nedition = "2021"\n' > crate/base/Cargo.toml
echo 'pub const ANSWER: u32 = 42;' > crate/base/src/lib.rs
echo 'fn main() { println!("{}", base::ANSWER); }' > crate/src/main.rs
cd crate && cargo build -q --offline
for file in target/debug/deps/libbase-*; do
    cp -p "$file" stamp && printf broken > "$file" && touch -r stamp "$file"
done
rm stamp target/debug/top target/debug/deps/top-*
