#!/bin/bash
# sizes.sh HOST PORT NQN: verified I/O on the raw device in every size from a block to 1 MiB, at several depths, with
# and without digests; deallocated and zeroed ranges; flush.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
host=$1 port=$2 nqn=$3

for digests in "" "--hdr-digest" "--data-digest"; do # both at once: connect_fs.sh
  say "connect $digests"
  # shellcheck disable=SC2086
  connect "$host" "$port" "$nqn" $digests
  jobs=(--filename="$device") at=0
  for size in 512 1k 4k 8k 16k 64k 128k 1M; do
    case $size in 512 | 1k) area=256k ;; 4k | 8k | 16k) area=1M ;; *) area=4M ;; esac
    case $size in 512 | 16k | 1M) depth=1 ;; 1k | 64k) depth=4 ;; 8k) depth=16 ;; *) depth=64 ;; esac
    jobs+=(--name="s$size" --rw=randwrite --bs="$size" --iodepth=$depth --offset="${at}M" --size=$area)
    at=$((at + 4))
  done
  fio_verify "${jobs[@]}"
  fio_verify --filename="$device" --name=mixed --rw=randrw --bsrange=512-1M --iodepth=32 --offset=32M --size=8M
  blkdiscard -f -o 1M -l 1M "$device" || fail "discard"
  blkdiscard -f -z -o 16M -l 5M "$device" || fail "write zeroes"
  cmp -n 5M -i 16M:0 "$device" /dev/zero || fail "not zero after write zeroes"
  disconnect "$nqn"
done
! kernel_complaints || fail "the kernel complained"
say passed
