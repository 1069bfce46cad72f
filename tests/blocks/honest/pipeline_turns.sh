# Both ends wait most of the time, and each gets on now and then.
(for i in 1 2 3 4; do sleep 3; echo "$i"; done) | while read -r line; do echo "got $line"; done
