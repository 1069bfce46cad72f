: > blocking
until cat /dev/zero > /tmp/full 2> /dev/null && false; do sleep 1; done
