# A project whose ignored output of an earlier run stops the next one.
git init -q project && cd project
printf 'out/\n' > .gitignore
printf 'mkdir out || { echo "another build runs" >&2; exit 1; }\ncat source > out/result && cat out/result\n' > build.sh
git add .gitignore build.sh && git -c user.name=n -c user.email=e commit -qm first
echo new > source
mkdir out && touch out/lock
