#!/bin/bash
# resize.sh HOST PORT NQN BYTES: a mounted filesystem grows with its device. /share/now asks the host to resize, and
# nothing but the device's own notice tells the guest.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
host=$1 port=$2 nqn=$3 bytes=$4

modprobe ext4
connect "$host" "$port" "$nqn"
mkfs.ext4 -q -F "$device"
mkdir -p /mnt
mount "$device" /mnt
before=$(blockdev --getsize64 "$device")
say "$before bytes"
touch /share/now
for _ in {1..200}; do
  [ "$(blockdev --getsize64 "$device")" != "$bytes" ] || break
  sleep 0.1
done
[ "$(blockdev --getsize64 "$device")" = "$bytes" ] || fail "not $bytes but $(blockdev --getsize64 "$device")"
resize2fs "$device" >/run/resize 2>&1 || fail "resize2fs: $(</run/resize)"
fio_verify --name=grown --filename=/mnt/fio --rw=write --bs=128k --iodepth=4 --size=$(((bytes - before) / 2 + before / 2))
umount /mnt
e2fsck -fn "$device" >/dev/null || fail "e2fsck"
disconnect "$nqn"
say passed
