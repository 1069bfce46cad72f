# Needs some room in /tmp for a moment.
file=$(mktemp) && dd if=/dev/zero of="$file" bs=1M count="$1" 2>/dev/null && sleep 0.7 && rm "$file"
