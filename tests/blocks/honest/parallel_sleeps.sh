seq 6 | xargs -P 3 -I{} sh -c 'sleep 6; echo {}'
