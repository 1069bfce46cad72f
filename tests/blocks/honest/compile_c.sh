# A real compile by gcc, with optimisation.
for i in $(seq 3000); do
    echo "double f$i(double x) { for (int i = 0; i < 100; i++) x = x * $i + x / (i + 1); return x; }"
done > many.c
echo 'int main(void) { return 0; }' >> many.c
gcc -O3 -o many many.c
