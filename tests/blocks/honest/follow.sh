# Watches a log that nobody writes to.
: > log
tail -f log
