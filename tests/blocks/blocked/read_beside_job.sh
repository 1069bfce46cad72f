# A background job keeps its own time; the script itself waits for a line.
sleep 300 &
: > blocking
read -r answer
