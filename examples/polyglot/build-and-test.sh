#!/usr/bin/env bash
# Builds and tests the same library in three languages, then compares their answers.
#
# Needs no network. Writes only to `out/` beside this script, so that home and toolchains may be
# read-only. A language whose toolchain is missing is skipped, and the last line says so.
set -euo pipefail
cd "$(dirname "$0")"

out=$PWD/out
mkdir -p "$out"
# In the workspace: `/tmp` may be small, and a second build reuses the first one's work.
export CARGO_TARGET_DIR=$out/rust
export PYTHONDONTWRITEBYTECODE=1
# An outer build must not decide how this one is done.
unset RUSTFLAGS RUSTDOCFLAGS NODE_OPTIONS NODE_TEST_CONTEXT

failed=() skipped=() passed=()

step() { printf '\n==> %s\n' "$*"; }

# Runs `build_NAME` when TOOL works; notes what came of it.
language() {
    local name=$1 tool=$2
    if ! "$tool" --version >"$out/tool.txt" 2>&1; then
        step "$name: skipped, \`$tool\` does not run here"
        sed 's/^/    /' "$out/tool.txt"
        skipped+=("$name")
        return
    fi
    step "$name: $(head -n 1 "$out/tool.txt")"
    # A fresh shell keeps `set -e` alive, which a function in a condition would lose.
    if bash -euo pipefail -c "$(declare -f "build_$name"); build_$name"; then
        passed+=("$name")
    else
        failed+=("$name")
    fi
}

build_rust() {
    cd rust
    cargo build --offline
    cargo test --offline
}

build_node() {
    cd node
    node --check main.js
    # Named, because versions differ in how they look for tests.
    node --test --test-reporter=spec wildcard.test.js
}

build_python() {
    cd python
    python3 -m unittest -v
}

answers_of() {
    case $1 in
        rust) "$CARGO_TARGET_DIR/debug/wildcard" ;;
        node) node node/main.js ;;
        python) python3 python/wildcard.py ;;
    esac
}

# Prints COUNT lines of `pattern<TAB>text`, the same ones each time.
generate_inputs() {
    awk -v count="$1" '
        function random(below) { state = state * 16807 % 2147483647; return state % below }
        function word(alphabet, length_max,   text, i) {
            text = ""
            for (i = random(length_max + 1); i > 0; i--)
                text = text substr(alphabet, random(length(alphabet)) + 1, 1)
            return text
        }
        BEGIN { state = 1; while (count-- > 0) print word("ab**?\\", 6) "\t" word("ab", 5) }'
}

compare_answers() {
    local first=$1 name
    generate_inputs 5000 >"$out/inputs.tsv"
    for name in "$@"; do
        answers_of "$name" <"$out/inputs.tsv" >"$out/answers-$name.txt"
        if ! cmp "$out/answers-$first.txt" "$out/answers-$name.txt"; then
            echo "$name and $first disagree"
            return 1
        fi
    done
    [ "$(wc -l <"$out/answers-$first.txt")" -eq 5000 ]
    echo "$(grep -c yes "$out/answers-$first.txt") of 5000 generated inputs match, say: $*"
}

language rust cargo
language node node
language python python3

if [ ${#passed[@]} -gt 1 ]; then
    step "agreement of ${passed[*]}"
    compare_answers "${passed[@]}" || failed+=(agreement)
fi

printf '\npassed: %s; failed: %s; skipped: %s\n' \
    "${passed[*]:-none}" "${failed[*]:-none}" "${skipped[*]:-none}"
[ ${#failed[@]} -eq 0 ] && [ ${#passed[@]} -gt 0 ]
