# Holds so many processes for a moment.
for i in $(seq "$1"); do sleep 1 & done
wait
