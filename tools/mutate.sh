#!/bin/sh
# Plants bugs in a copy of the tree, one at a time, and shows after how many seeds the simulation finds each.
#
#   tools/mutate.sh [--seeds N] [NAME...]     all of them, or those named; N seeds at most per bug (default 4000)
#
# A bug is a patch in tools/mutants/NAME.patch against the sources; a line "Scenario: NAME" above it says which scenario
# of holdfast-sim has to find it, else it is the cluster. Ends with 1 when a bug survives or its patch does not apply
# any more (then the code it is about has changed: renew the patch).
set -eu
cd "$(dirname "$0")/.."
seeds=4000
names=
while [ $# -gt 0 ]; do
  case $1 in
    --seeds) seeds=$2; shift 2 ;;
    -*) sed -n '2,8p' "$0" >&2; exit 2 ;;
    *) names="$names $1"; shift ;;
  esac
done
[ -n "$names" ] || names=$(cd tools/mutants && ls ./*.patch | sed 's|^./||; s|\.patch$||')

root=$PWD
tree=$root/build/mutants/tree
jobs=$(nproc)
mkdir -p build/mutants
git worktree prune
# The working tree as it is, uncommitted changes included.
if [ ! -e "$tree/.git" ]; then
  rm -rf "$tree"
  git worktree add --quiet --detach "$tree" HEAD
fi
refresh() {
  git -C "$tree" checkout --quiet --force --detach "$(git rev-parse HEAD)"
  git -C "$tree" clean --quiet -fd -e build
  git diff --binary HEAD -- src sim cmake CMakeLists.txt >"$root/build/mutants/uncommitted.patch"
  [ ! -s "$root/build/mutants/uncommitted.patch" ] || git -C "$tree" apply "$root/build/mutants/uncommitted.patch"
}
export CCACHE_BASEDIR=$tree CCACHE_NOHASHDIR=1
trap 'git worktree remove --force "$tree" 2>/dev/null || true' EXIT
refresh
(cd "$tree" && cmake --preset dev >"$root/build/mutants/configure.log") || { cat build/mutants/configure.log; exit 1; }

survived=0
for name in $names; do
  patch=$root/tools/mutants/$name.patch
  refresh
  if ! git -C "$tree" apply "$patch" 2>"$root/build/mutants/$name.log"; then
    printf '%-36s the patch does not apply\n' "$name"
    survived=1
    continue
  fi
  if ! ninja -C "$tree/build/dev" -j "$jobs" holdfast-sim >"$root/build/mutants/$name.log" 2>&1; then
    printf '%-36s does not compile (build/mutants/%s.log)\n' "$name" "$name"
    survived=1
    continue
  fi
  log=$root/build/mutants/$name.log
  scenario=$(sed -n 's/^Scenario: //p' "$patch")
  if "$tree/build/dev/bin/holdfast-sim" --scenario "${scenario:-cluster}" --seeds "1-$seeds" --jobs "$jobs" --first-failure >"$log" 2>&1; then
    printf '%-36s SURVIVED %s seeds\n' "$name" "$seeds"
    survived=1
  else
    seed=$(sed -n 's/^holdfast-sim --seed \([0-9]*\) .*/\1/p' "$log" | head -n 1)
    why=$(sed -n "s/^seed $seed FAILED: //p" "$log" | head -n 1 | cut -c 1-110)
    printf '%-36s found after %s seeds: %s\n' "$name" "$seed" "$why"
  fi
done
exit $survived
