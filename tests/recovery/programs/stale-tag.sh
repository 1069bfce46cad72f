# A directory of things that can be made again, with its tag and something broken in it.
mkdir -p project/work && cp cached.py project
printf 'Signature: 8a477f597d28d172789f06886806bc55\n' > project/work/CACHEDIR.TAG
echo '{"answer": 4' > project/work/index.json
