# Helpers for the scripts that run in the guest: . "$(dirname "$0")/lib.sh"
# shellcheck shell=bash

say() {
  local up
  read -r up _ </proc/uptime
  echo "== [$up] $*"
}

fail() {
  echo "FAILED: $*"
  dmesg | tail -n 25
  exit 1
}

# connect HOST PORT NQN [OPTION...]: sets `device`, the block device of the subsystem's first namespace. One second
# of reconnect delay, so that a restarted target is found again at once.
connect() {
  local host=$1 port=$2 nqn=$3
  shift 3
  nvme connect -t tcp -a "$host" -s "$port" -n "$nqn" --nr-io-queues=2 --reconnect-delay=1 --ctrl-loss-tmo=600 \
    "$@"
  local tries subsystem path
  for tries in {1..100}; do
    for subsystem in /sys/class/nvme-subsystem/*; do
      [ "$(<"$subsystem/subsysnqn")" = "$nqn" ] || continue
      # With multipath the namespace hangs on the subsystem and those of the paths have a "c" in their name.
      for path in "$subsystem"/nvme*n* "$subsystem"/nvme*/nvme*n*; do
        if [[ ${path##*/} =~ ^nvme[0-9]+n[0-9]+$ && -b /dev/${path##*/} ]]; then
          device=/dev/${path##*/}
          return
        fi
      done
    done
    sleep 0.1
  done
  fail "no namespace of $nqn appeared in 10 s ($tries looks)"
}

disconnect() {
  nvme disconnect -n "$1"
}

# controller NQN: the name (nvme0) of a controller of this subsystem
controller() {
  local c
  for c in /sys/class/nvme/nvme*; do
    [ "$(<"$c/subsysnqn")" != "$1" ] || { echo "${c##*/}"; return; }
  done
  return 1
}

queue() { # a limit of `device`
  cat "/sys/block/${device##*/}/queue/$1"
}

# fio_verify OPTION... --name=JOB OPTION...: with verification; a mismatch or an I/O error ends the script. Several
# jobs in one call, because fio takes the guest a second to start.
fio_verify() {
  fio --name=global --ioengine=libaio --direct=1 --verify=crc32c --verify_fatal=1 --verify_state_save=0 --randseed=1 \
    --group_reporting --output-format=terse "$@" >/run/fio.out || fail "fio $*: $(</run/fio.out)"
}

# make_files FOLDER: one file of some megabytes, and many small ones; leaves their checksums in FOLDER.sha256
make_files() {
  local i
  mkdir -p "$1"
  head -c 6M /dev/urandom >"$1/large"
  for i in {1..50}; do printf '%s\n' "$i" "$RANDOM" >"$1/small$i"; done
  (cd "$1" && sha256sum -- *) >"$1.sha256"
}

kernel_complaints() {
  # What the controller asks for at a shutdown is news, no complaint.
  dmesg | grep -v 'Shutdown timeout set to' |
    grep -iE 'I/O error|nvme.*(timeout|resetting|failed|reconnect)|EXT4-fs error|XFS .*(error|corrupt)'
}
