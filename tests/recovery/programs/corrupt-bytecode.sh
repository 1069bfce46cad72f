# A module whose bytecode is broken behind a header that fits.
mkdir -p app && echo 'ANSWER = 42' > app/answer.py && touch app/__init__.py
python3 -m compileall -q app
for file in app/__pycache__/answer*.pyc; do
    head -c 16 "$file" > broken && printf '\377\377\377' >> broken && cat broken > "$file"
done
