# Answers each line; somebody talks to it.
while read -r line; do echo "you said $line"; done
