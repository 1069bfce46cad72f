# Nobody reads what is written.
: > blocking
yes | sleep 1000
