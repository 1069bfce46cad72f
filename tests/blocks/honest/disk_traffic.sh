# Fills the page cache up to the memory limit, again and again.
for i in $(seq 40); do
    dd if=/dev/zero of=big bs=1M count=150 conv=fsync 2> /dev/null
    dd if=big of=/dev/null bs=1M 2> /dev/null
done
