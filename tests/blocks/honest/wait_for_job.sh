sleep 20 &
wait
