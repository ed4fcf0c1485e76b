#!/bin/bash
# selftest_nvmet.sh SCRIPT [ARG...]: connect_fs.sh or kill_restart.sh against the kernel's own target, in the same
# guest. What fails here is no fault of ours.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
script=$1
shift
nqn=nqn.2019-05.io.openebs:selftest target=/sys/kernel/config/nvmet
export_subsystem() { ln -s "$target/subsystems/$nqn" "$target/ports/1/subsystems/"; }

modprobe -a nvmet nvmet-tcp loop
mount -t configfs configfs /sys/kernel/config
truncate -s 384M /run/disk   # behind a loop device, because tmpfs itself cannot write zeroes
disk=$(losetup -f --show /run/disk)
mkdir -p "$target/subsystems/$nqn/namespaces/1" "$target/ports/1"
echo 1 >"$target/subsystems/$nqn/attr_allow_any_host"
echo -n "$disk" >"$target/subsystems/$nqn/namespaces/1/device_path"
echo 1 >"$target/subsystems/$nqn/namespaces/1/enable"
echo ipv4 >"$target/ports/1/addr_adrfam"
echo tcp >"$target/ports/1/addr_trtype"
echo 127.0.0.1 >"$target/ports/1/addr_traddr"
echo 4420 >"$target/ports/1/addr_trsvcid"
export_subsystem

if [ "$script" = kill_restart.sh ]; then
  (
    while [ ! -e /share/now ]; do sleep 0.1; done
    rm "$target/ports/1/subsystems/$nqn"   # also ends the connections
    sleep 3
    export_subsystem
    touch /share/done
  ) &
fi
"$(dirname "$0")/$script" 127.0.0.1 4420 "$nqn" "$@"
