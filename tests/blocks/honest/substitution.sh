answer=$(sleep 15; echo 42)
echo "$answer"
