# A daemon left behind holds the pipe of a command substitution open.
: > blocking
x=$(sleep 1000 & echo started)
echo "$x"
