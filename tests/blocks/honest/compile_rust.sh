# A real compile by rustc, with optimisation.
{
    for i in $(seq 1500); do
        echo "pub fn f$i(v: &[u64]) -> Vec<String> { v.iter().map(|x| format!(\"{} $i\", x * $i)).collect() }"
    done
    echo 'fn main() {'
    for i in $(seq 1500); do echo "println!(\"{:?}\", f$i(&[1, 2, 3]));"; done
    echo '}'
} > many.rs
rustc -O -o many many.rs
