#!/bin/bash
# attach.sh HOLDFAST HOST PORT NQN: `holdfast attach` through the kernel's own initiator: a device, a filesystem whose
# files are there after detach and attach, both repeatable, and nothing left behind.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
holdfast=$1 host=$2 port=$3 nqn=$4
uri=nvmf://$host:$port/$nqn

connected() {
  grep -qsx "$nqn" /sys/class/nvme/*/subsysnqn
}

modprobe ext4
modprobe nvme-tcp
make_files /run/files

say attach
device=$("$holdfast" attach --via kernel "$uri")
[[ $device == /dev/nvme* && -b $device ]] || fail "not a device of the kernel's initiator: $device"
[ "$("$holdfast" attach --via kernel "$uri")" = "$device" ] || fail "a second attach made another device"
[ "$("$holdfast" attach "$uri")" = "$device" ] || fail "the kernel's initiator is not the first choice"
"$holdfast" attach --list -o json >/run/list
grep -q "$nqn" /run/list || fail "not listed: $(</run/list)"
# A host that reconnects for as long as the default grace says.
[ "$(<"/sys/class/nvme/$(controller "$nqn")/ctrl_loss_tmo")" = 600 ] || fail "ctrl_loss_tmo is not the grace"

say filesystem
mkfs.ext4 -q -F "$device"
mkdir -p /mnt
"$holdfast" attach --mount-options noatime "$uri" /mnt
grep -q "^$device /mnt ext4 .*noatime" /proc/mounts || fail "not mounted: $(grep /mnt /proc/mounts)"
cp -r /run/files /mnt/
fio_verify --name=file --filename=/mnt/fio --rw=randwrite --bs=4k --iodepth=8 --size=4M

say detach
"$holdfast" detach /mnt
! grep -q ' /mnt ' /proc/mounts || fail "still mounted"
! connected || fail "still connected"
! "$holdfast" detach "$uri" 2>/run/refused || fail "a second detach found something"
grep -q 'is not attached' /run/refused || fail "the refusal does not say why: $(</run/refused)"

say again
"$holdfast" attach --read-only "$uri" /mnt
(cd /mnt/files && sha256sum --quiet -c /run/files.sha256) || fail "the files differ"
! touch /mnt/new 2>/run/refused || fail "written although it is read-only"
"$holdfast" detach --all
! connected || fail "still connected"

say a device that cannot be written to
device=$("$holdfast" attach --read-only "$uri")
! dd if=/dev/zero of="$device" bs=4096 count=1 oflag=direct 2>/run/refused || fail "written although it is read-only"
dd if="$device" of=/dev/null bs=4096 count=1 iflag=direct 2>/run/dd || fail "cannot be read: $(</run/dd)"
"$holdfast" detach "$uri"
"$holdfast" attach "$uri" >/run/device
! "$holdfast" attach --read-only "$uri" 2>/run/refused || fail "a device that can be written to is called read-only"
grep -q 'can be written' /run/refused || fail "the refusal does not say why: $(</run/refused)"
"$holdfast" detach "$uri"
! connected || fail "still connected"

say refusals
! "$holdfast" attach --via kernel "$uri-absent" 2>/run/refused || fail "an unknown NQN was attached"
grep -q absent /run/refused || fail "the refusal does not name it: $(</run/refused)"
dmesg -C   # the kernel's complaint about that is as it should be
! kernel_complaints || fail "the kernel complained"
say passed
