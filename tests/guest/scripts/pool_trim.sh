#!/bin/bash
# pool_trim.sh HOST PORT NQN: ext4 on a thin mirrored volume. Files are made and deleted, and fstrim gives their room
# back; a snapshot is taken while fio runs, and its clone mounts and is clean. /share/filled and /share/trimmed let the
# host look at its pool, /share/writing asks for the snapshot; it answers with /share/look and with /share/clone, which
# has the port and NQN of the clone's volume.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
host=$1 port=$2 nqn=$3

wait_file() {
  local tries
  for tries in {1..1200}; do
    [ ! -e "$1" ] || return 0
    sleep 0.1
  done
  fail "the host made no $1 in two minutes ($tries looks)"
}

modprobe ext4
make_files /run/files
say connect
connect "$host" "$port" "$nqn"
(($(queue discard_max_bytes) > 0)) || fail "the volume cannot be trimmed"
mkfs.ext4 -q -F -E nodiscard "$device"
mkdir -p /mnt /clone
mount "$device" /mnt
cp -r /run/files /mnt/

say fill and trim
head -c 48M /dev/urandom >/mnt/ballast
sync
touch /share/filled
wait_file /share/look
rm /mnt/ballast
sync
fstrim -v /mnt
touch /share/trimmed

say snapshot under fio
(
  round=0
  while [ ! -e /share/clone ] || ((round == 0)); do
    fio_verify --name=file --filename=/mnt/fio --rw=randwrite --bs=4k --iodepth=8 --size=4M --fsync=64 \
      --randseed=$((++round))
  done
) &
fio=$!
while [ ! -s /mnt/fio ]; do sleep 0.1; done
sync -f /mnt   # the file's name is in the snapshot, whatever of its content is
touch /share/writing
wait_file /share/clone
wait "$fio" || fail "fio failed"

say the clone
read -r clone_port clone_nqn </share/clone
umount /mnt
disconnect "$nqn"
connect "$host" "$clone_port" "$clone_nqn"
mount "$device" /clone
(cd /clone/files && sha256sum --quiet -c /run/files.sha256) || fail "the clone's files differ"
[ -s /clone/fio ] || fail "the clone has not the file that was being written"
[ ! -e /clone/ballast ] || fail "the clone has a file that was deleted before"
umount /clone
e2fsck -fn "$device" || fail "e2fsck of the clone"
disconnect "$clone_nqn"
! kernel_complaints || fail "the kernel complained"
say passed
