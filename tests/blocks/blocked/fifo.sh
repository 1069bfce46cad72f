# Nobody opens the other end of a named pipe.
mkfifo channel
: > blocking
cat channel
