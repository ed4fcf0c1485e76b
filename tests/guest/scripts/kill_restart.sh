#!/bin/bash
# kill_restart.sh HOST PORT NQN: I/O that must outlive what the host does to the target meanwhile. /share/now tells
# the host that I/O runs; it answers with /share/done when the target is back. No error may reach the applications.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
host=$1 port=$2 nqn=$3

modprobe ext4
make_files /run/files
say connect
connect "$host" "$port" "$nqn" --keep-alive-tmo=5
mkfs.ext4 -q -F "$device"
mkdir -p /mnt
mount -o errors=remount-ro "$device" /mnt

say I/O
(
  rounds=0
  while [ ! -e /share/done ] || ((rounds < 2)); do
    fio_verify --name=file --filename=/mnt/fio --rw=randwrite --bs=4k --iodepth=8 --size=4M --fsync=128 \
      --randseed=$((++rounds))
  done
  echo "fio: $rounds rounds"
) &
fio=$!
while [ ! -s /mnt/fio ]; do sleep 0.1; done
touch /share/now
copies=0
while [ ! -e /share/done ] || ((copies == 0)); do
  cp -r /run/files "/mnt/copy$((copies++ % 3))"
  sync
done
say "the host is done, after $copies copies"
cp -r /run/files /mnt/last
sync
wait "$fio" || fail "fio failed"

say verify
umount /mnt
# From the device, not from memory.
disconnect "$nqn"
connect "$host" "$port" "$nqn"
mount "$device" /mnt
for folder in /mnt/copy* /mnt/last; do
  (cd "${folder%/}" && sha256sum --quiet -c /run/files.sha256) || fail "the files in $folder differ"
done
umount /mnt
e2fsck -fn "$device" || fail "e2fsck"
disconnect "$nqn"
! dmesg | grep -E 'I/O error|EXT4-fs error' || fail "an error reached the filesystem"
dmesg | grep -c 'nvme.*reconnect' | sed 's/^/reconnect messages: /' || true
say passed
