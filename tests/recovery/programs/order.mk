# Two targets lock two files in two orders.
all: one two
one:
	flock a sh -c 'touch in-one; for i in 1 2 3 4 5 6 7 8; do [ -e in-two ] && break; sleep 0.1; done; flock b true'
two:
	flock b sh -c 'touch in-two; for i in 1 2 3 4 5 6 7 8; do [ -e in-one ] && break; sleep 0.1; done; flock a true'
