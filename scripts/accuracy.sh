#!/bin/sh
# How right the analysis is: fetches sources that nobody here wrote into a cache, and compares
# definitions with universal-ctags, and calls with Python's own parser and the TypeScript compiler.
#
#   scripts/accuracy.sh [CACHE]     needs ctags, python3 with pip, node with npm
set -eu
cache=${1:-"${XDG_CACHE_HOME:-$HOME/.cache}/cogo-accuracy"}
mkdir -p "$cache/python" "$cache/typescript" "$cache/java" "$cache/rust" "$cache/node_modules/typescript"
cache=$(cd "$cache" && pwd)
cd "$(dirname "$0")/.."

# $1 package, $2 folder; npm packages carry TypeScript, and Java
npm_source() {
    [ -d "$2/package" ] && return
    (cd "$2" && npm pack "$1" --silent && tar xzf ./*.tgz && rm ./*.tgz)
}
npm_source rxjs@7.8.1 "$cache/typescript"
npm_source react-native@0.70.15 "$cache/java"
npm_source typescript@5.4.5 "$cache/node_modules/typescript"
[ -d "$cache/node_modules/typescript/lib" ] ||
    mv "$cache"/node_modules/typescript/package/* "$cache/node_modules/typescript/"
if [ -z "$(ls "$cache/python")" ]; then
    (cd "$cache/python" && pip download -q --no-deps --no-binary :all: requests==2.31.0 flask==3.0.0 &&
        for archive in *.tar.gz; do tar xzf "$archive"; done)
fi
# Rust and C: what cargo has fetched for this workspace anyway.
sources=$(cargo metadata --format-version 1 --locked |
    python3 -c 'import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] in ("regex-automata", "hyper", "tree-sitter", "ring"):
        print(os.path.dirname(package["manifest_path"]))')

# shellcheck disable=SC2086
set -- $sources "$cache/python" "$cache/typescript/package/src" \
    "$cache/java/package/ReactAndroid/src/main/java/com/facebook/react/bridge"
run="cargo run -q --release -p cogo-analysis --example accuracy --"
$run definitions "$@"
NODE_PATH="$cache/node_modules" $run calls "$cache/python" "$cache/typescript/package/src"
$run speed "$@"
