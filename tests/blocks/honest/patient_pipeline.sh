# The writer is held up for a while, as its reader starts slowly.
yes | (sleep 9; head -c 100000000 > /dev/null)
