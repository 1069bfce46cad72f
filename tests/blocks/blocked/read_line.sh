# A script that asks and reads a line.
printf 'Continue? [y/n] '
: > blocking
read -r answer
echo "$answer"
