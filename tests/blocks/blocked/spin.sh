: > blocking
while :; do :; done
