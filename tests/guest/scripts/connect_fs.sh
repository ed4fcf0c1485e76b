#!/bin/bash
# connect_fs.sh HOST PORT NQN [FILESYSTEM [CONNECT-OPTION...]]
# A namespace's whole life with the kernel's initiator: discover, connect, identify, logs, verified I/O, discard
# and zeroes, a filesystem whose files survive a reconnect.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
host=$1 port=$2 nqn=$3 filesystem=${4:-ext4}
shift $(($# < 4 ? 3 : 4))

modprobe "$filesystem"
make_files /run/files

say discover
nvme discover -t tcp -a "$host" -s "$port" >/run/discovery
grep -qE "^subnqn: +$nqn\$" /run/discovery || fail "not in the discovery log: $nqn$(cat /run/discovery)"
if nvme connect -t tcp -a "$host" -s "$port" -n "$nqn-absent" 2>/run/refused; then
  fail "an unknown NQN was accepted"
fi
dmesg -C   # the kernel's complaint about that is as it should be

say connect "$@"
connect "$host" "$port" "$nqn" "$@"
controller=/dev/$(controller "$nqn")
[ "$(<"/sys/class/nvme/${controller##*/}/state")" = live ] || fail "the controller is not live"
echo "$device on $controller: $(blockdev --getsize64 "$device") bytes," \
  "blocks of $(queue logical_block_size)," \
  "I/O up to $(queue max_hw_sectors_kb) KiB"

say identify and logs
nvme id-ctrl "$controller" >/run/id-ctrl
grep -E '^(sn|mn|fr|mdts|cntlid|ver|cmic|oncs|kas|ioccsz|sgls|maxcmd|anacap)  *:' /run/id-ctrl
grep -qE "^subnqn +: $nqn\$" /run/id-ctrl || fail "id-ctrl names another subsystem"
nvme id-ns "$device" >/run/id-ns
grep -E '^(nsze|nlbaf|flbas|nmic|nsfeat|nguid|eui64|anagrpid) ' /run/id-ns
nvme ns-descs "$device" | grep -E 'uuid|nguid' || fail "no namespace identifier"
nvme list | grep "^$device " || fail "nvme list does not have $device"
nvme list-ns "$controller" | grep 0x1 || fail "no namespace 1"
nvme smart-log "$controller" | grep -E '^(critical_warning|available_spare|percentage_used)' || fail "no SMART log"
nvme error-log "$controller" -e 1 >/run/error-log || fail "no error log"
nvme get-feature "$controller" -f 7 || fail "get-feature number of queues"
cmic=$(sed -n 's/^cmic *: *//p' /run/id-ctrl)
if ((cmic & 8)); then nvme ana-log "$controller" | grep state || fail "no ANA log"; fi

say verified I/O, all sizes
block=$(queue logical_block_size)
# From one block to more than fits a command: in the capsule, by R2T, split.
fio_verify --filename="$device" --iodepth=8 \
  --name=small --rw=randwrite --bs=4k --size=4M \
  --name=mixed --rw=randwrite --bsrange="$block-384k" --offset=4M --size=12M \
  --name=readwrite --rw=randrw --bs=16k --offset=16M --size=4M

if (($(queue write_zeroes_max_bytes) > 0)); then
  say write zeroes
  blkdiscard -f -z -o 1M -l 2M "$device"
  cmp -n 2M -i 1M:0 "$device" /dev/zero || fail "not zero after write zeroes"
  ! cmp -s -n 1M "$device" /dev/zero || fail "write zeroes went outside its range"
fi
if (($(queue discard_max_bytes) > 0)); then
  say discard
  blkdiscard -f "$device"
fi

say "$filesystem"
case $filesystem in
  ext4) mkfs.ext4 -q -F "$device" ;;
  xfs) mkfs.xfs -q -f "$device" ;;
esac
mkdir -p /mnt
mount "$device" /mnt
cp -r /run/files /mnt/
fio_verify --name=file --filename=/mnt/fio --rw=randwrite --bs=4k --iodepth=8 --size=4M --fsync=64
sync
fstrim -v /mnt || (($(queue discard_max_bytes) == 0)) || fail "fstrim"
umount /mnt

say reconnect
disconnect "$nqn"
connect "$host" "$port" "$nqn" "$@"
mount "$device" /mnt
(cd /mnt/files && sha256sum --quiet -c /run/files.sha256) || fail "the files differ"
fio_verify --name=file --filename=/mnt/fio --rw=randwrite --bs=4k --iodepth=8 --size=4M --verify_only
umount /mnt
disconnect "$nqn"
! kernel_complaints || fail "the kernel complained"
say passed
