#!/bin/bash
# many.sh HOST PORT NQN...: all of these subsystems at once, with four I/O queues each; then connect and disconnect
# in turn, again and again.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
host=$1 port=$2
shift 2

say "connect $# subsystems"
devices=()
for nqn in "$@"; do
  connect "$host" "$port" "$nqn" --nr-io-queues=4
  devices+=("$device")
done
[ "$(printf '%s\n' "${devices[@]}" | sort -u | wc -l)" = $# ] || fail "devices: ${devices[*]}"
live=$(cat /sys/class/nvme/nvme*/state | grep -c live)
[ "$live" = $# ] || fail "$live of $# controllers are live"

say I/O on all of them
jobs=()
for device in "${devices[@]}"; do jobs+=(--name="j${device##*/}" --filename="$device"); done
fio_verify --rw=randwrite --bs=4k --size=1M --iodepth=8 "${jobs[@]}"

say again and again
for _ in {1..3}; do
  for nqn in "${@:1:3}"; do
    disconnect "$nqn" >/dev/null
    connect "$host" "$port" "$nqn"
  done
done
nvme disconnect-all
! kernel_complaints || fail "the kernel complained"
say passed
