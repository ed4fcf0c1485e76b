#!/usr/bin/env bash
# Runs every fuzz target for a while on its kept corpus.
#   tools/fuzz.sh BUILD_DIR SECONDS [TARGET...]
# A finding is written to BUILD_DIR/fuzz/findings/; add the fixed input to tests/corpus/TARGET/.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 seconds=$2
shift 2
targets=("$@")
if [ ${#targets[@]} = 0 ]; then mapfile -t targets < <(find "$build/fuzz" -maxdepth 1 -type f -perm -u+x -name '*_fuzz' -printf '%f\n' | sort); fi
[ ${#targets[@]} -gt 0 ] || { echo "fuzz: no targets in $build/fuzz" >&2; exit 1; }
findings=$build/fuzz/findings
mkdir -p "$findings"
run() {
  local target=$1 kept=tests/corpus/$1 grown=$build/fuzz/corpus-$1
  [ -d "$kept" ] || { echo "fuzz: $target has no corpus in $kept" >&2; return 1; }
  mkdir -p "$grown"
  "$build/fuzz/$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="$findings/$target-" "$grown" "$kept" >"$build/fuzz/$target.log" 2>&1 || {
    tail -n 40 "$build/fuzz/$target.log"
    return 1
  }
  echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/fuzz/$target.log") runs, no finding"
}
export -f run
export build seconds findings
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'run {}'
