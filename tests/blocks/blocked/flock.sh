# The holder of a lock waits for the one who waits for the lock.
mkfifo go
exec 9> lock
flock 9
(exec 9>&-; flock lock true; echo > go) &
: > blocking
cat go
