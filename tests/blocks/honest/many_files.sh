# A quiet build step: many small processes and files.
mkdir -p out
i=0
while [ $i -lt 4000 ]; do
    echo "int f$i(void) { return $i; }" > out/$i.c
    cksum out/$i.c > out/$i.sum
    i=$((i + 1))
done
