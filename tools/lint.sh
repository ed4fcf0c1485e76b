#!/usr/bin/env bash
# clang-format, clang-tidy and the coroutine lint over the tree. A file is looked at again only when it, a header,
# or the configuration changed.
#   tools/lint.sh [BUILD_DIR]     BUILD_DIR (default build/dev) has compile_commands.json
#   tools/lint.sh --format        clang-format only
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t sources < <(git ls-files --cached --others --exclude-standard 'src/*.cc' 'src/*.h' 'apps/*.cc' 'sim/*.cc' \
  'sim/*.h' 'bench/*.cc' 'tests/*.cc' 'tests/*.h')
clang-format-14 --dry-run --Werror "${sources[@]}"
echo "clang-format: ${#sources[@]} files ok"
[ "${1:-}" != --format ] || exit 0
build=${1:-build/dev}
cache=$build/lint-cache
mkdir -p "$cache"
# A file that this build does not compile (a fuzz target) is read as its neighbours are.
python3 - "$build" "${sources[@]}" <<'END'
import json, os, sys
build, sources = sys.argv[1], [os.path.abspath(p) for p in sys.argv[2:] if p.endswith(".cc")]
entries = json.load(open(f"{build}/compile_commands.json"))
known = {e["file"]: e for e in entries}
for missing in (s for s in sources if s not in known):
    near = max(known, key=lambda k: len(os.path.commonpath([k, missing])))
    entries.append({**known[near], "file": missing, "command": known[near]["command"].replace(near, missing)})
json.dump(entries, open(f"{build}/lint-cache/compile_commands.json", "w"))
END

headers=$(cat .clang-tidy tools/coawait.query $(printf '%s\n' "${sources[@]}" | grep '\.h$') | sha256sum)
export cache headers
lint_one() {
  local file=$1 key out
  local extra=(--extra-arg=-Wno-unknown-warning-option --extra-arg=-Werror=unused-result "--extra-arg=-I$PWD")
  key=$(cat "$file" <(echo "$headers") | sha256sum | cut -c1-32)
  [ ! -e "$cache/$key" ] || return 0
  # The coroutine frames' promise hides awaited results from g++ 12's unused-result warning; clang sees them.
  if ! out=$(clang-tidy-14 --quiet -p "$cache" "${extra[@]}" "$file" 2>/dev/null); then
    printf '%s\n' "$out"
    return 1
  fi
  if grep -q co_await "$file"; then
    out=$(clang-query-14 -p "$cache" -f tools/coawait.query "$file" 2>/dev/null)
    if printf '%s\n' "$out" | grep "^$PWD" | grep -qv '/_deps/'; then
      printf 'coroutine trap (style: name the object before the awaiting statement):\n%s\n' "$out"
      return 1
    fi
  fi
  touch "$cache/$key"
}
export -f lint_one
printf '%s\n' "${sources[@]}" | grep '\.cc$' | xargs -P "$(nproc)" -I{} bash -c 'lint_one {}'
echo "clang-tidy and the coroutine lint: ok"
