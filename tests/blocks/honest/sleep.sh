sleep 25
