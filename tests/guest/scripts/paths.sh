#!/bin/bash
# paths.sh HOST NQN PORT PORT: one namespace over two paths, I/O all the time. The host writes to /share/want what the
# paths are to be ("STEP STATE STATE"; "gone": that path was killed) and is told by /share/seen.STEP when they are;
# the last step is "end".
set -euo pipefail
. "$(dirname "$0")/lib.sh"
host=$1 nqn=$2
shift 2

# Milliseconds would do for the states, but a killed path takes the keep alive's time.
for port in "$@"; do connect "$host" "$port" "$nqn" --keep-alive-tmo=5; done
[ "$(cat /sys/class/nvme/nvme*/state | grep -c live)" = 2 ] || fail "not two controllers"

state_of() { # PORT: the ANA state of the path over it
  local c
  for c in /sys/class/nvme/nvme*; do
    if [[ $(<"$c/address") == *"trsvcid=$1"* ]]; then
      [ "$(<"$c/state")" = live ] || { echo gone; return; }
      cat "$c"/nvme*c*n*/ana_state
      return
    fi
  done
}

(
  rounds=0
  while [ ! -e /run/done ]; do
    fio_verify --name=raw --filename="$device" --rw=randwrite --bs=4k --iodepth=8 --size=3M --randseed=$((++rounds))
  done
  echo "fio: $rounds rounds"
) &
fio=$!

done=0
while :; do
  read -r step first second </share/want 2>/dev/null || step=0
  if [ "$step" = end ]; then break; fi
  if [ "$step" != "$done" ] && [ "$(state_of "$1")" = "$first" ] && [ "$(state_of "$2")" = "$second" ]; then
    say "step $step: $first, $second"
    sleep 1 # I/O meanwhile
    kill -0 $fio || fail "fio failed"
    done=$step
    touch "/share/seen.$step"
  fi
  sleep 0.1
done
touch /run/done
wait $fio || fail "fio failed"
! dmesg | grep -iE 'I/O error|Buffer I/O' || fail "an error reached the applications"
nvme disconnect-all
say passed
