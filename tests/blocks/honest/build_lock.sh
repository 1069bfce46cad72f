# A second build that waits for the lock of the first, which is still at work.
(flock 9; sleep 12; echo first) 9> lock &
sleep 0.5
(flock 9; echo second) 9> lock
wait
