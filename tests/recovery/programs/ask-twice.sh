printf 'Name? '; read -r name
printf 'Overwrite? '; read -r answer
[ "$name" = cogo ] && [ "$answer" = yes ] && echo "made $name"
