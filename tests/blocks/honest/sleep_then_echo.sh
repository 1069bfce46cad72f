# What is started "later" by a shell that waits for a sleep.
sleep 15 && echo done
