# Waits for something that another part of the build makes.
(sleep 15; : > ready) &
until [ -e ready ]; do sleep 0.5; done
echo ready
