#!/bin/bash
# reservations.sh HOST PORT NQN a|b: two hosts and one namespace. They take turns by files in /share: each waits for
# what the other has done.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
host=$1 port=$2 nqn=$3 role=$4
trap '[ $? = 0 ] || touch /share/failed' EXIT # the other one need not wait

connect "$host" "$port" "$nqn"
head -c 4096 /dev/zero >/run/data
transfer() { # read|write
  nvme "$1" "$device" --start-block=0 --block-count=7 --data-size=4096 --data=/run/data 2>&1
}
may() { transfer "$1" >/run/out || fail "$role may not $1: $(</run/out)"; }
may_not() {
  if transfer "$1" >/run/out; then fail "$role may $1"; fi
  grep -q 'Reservation Conflict' /run/out || fail "$role: $1 failed otherwise: $(</run/out)"
}
does() { "$@" >/run/out 2>&1 || fail "$role: $*: $(</run/out)"; }
does_not() {
  if "$@" >/run/out 2>&1; then fail "$role: $* was not refused"; fi
  grep -q 'Reservation Conflict' /run/out || fail "$role: $* failed otherwise: $(</run/out)"
}
report() { # FIELD VALUE: of the reservation report
  nvme resv-report "$device" --eds >/run/report || fail "$role: report"
  grep -qiE "^ *$1 *: *(0x)?$2\$" /run/report || fail "$role: $1 is not $2: $(</run/report)"
}
done_with() { say "$1"; touch "/share/$1"; }
after() {
  local _
  for _ in {1..900}; do
    [ -e "/share/$1" ] && return
    [ ! -e /share/failed ] || fail "the other host failed"
    sleep 0.1
  done
  fail "$role waits for $1"
}

if [ "$role" = a ]; then
  does nvme resv-register "$device" --nrkey=0xa --rrega=0
  does nvme resv-acquire "$device" --crkey=0xa --rtype=1 --racqa=0
  may write
  report rtype 1
  done_with a-holds-write-exclusive
  after b-preempted
  may_not write
  may read
  does_not nvme resv-acquire "$device" --crkey=0xa --rtype=1 --racqa=0 # its registration went with the reservation
  does nvme resv-register "$device" --nrkey=0xa --rrega=0
  does_not nvme resv-acquire "$device" --crkey=0xa --rtype=1 --racqa=0
  done_with a-registered-again
  after b-released
  may write
  does nvme resv-acquire "$device" --crkey=0xa --rtype=2 --racqa=0
  done_with a-holds-exclusive-access
  after b-was-kept-out
  does nvme resv-release "$device" --crkey=0xa --rtype=0 --rrela=1 # clear: all registrations and the reservation
  report regctl 0
  done_with a-cleared
  after b-is-done
else
  after a-holds-write-exclusive
  may read
  may_not write
  does_not nvme resv-acquire "$device" --crkey=0xb --rtype=1 --racqa=0
  does nvme resv-register "$device" --nrkey=0xb --rrega=0
  does_not nvme resv-acquire "$device" --crkey=0xb --rtype=1 --racqa=0
  report regctl 2
  does nvme resv-acquire "$device" --crkey=0xb --prkey=0xa --rtype=1 --racqa=1 # preempt
  report regctl 1
  may write
  done_with b-preempted
  after a-registered-again
  does nvme resv-release "$device" --crkey=0xb --rtype=1 --rrela=0
  report rtype 0
  done_with b-released
  after a-holds-exclusive-access
  may_not read
  may_not write
  done_with b-was-kept-out
  after a-cleared
  may write
  does_not nvme resv-release "$device" --crkey=0xb --rtype=1 --rrela=0
  done_with b-is-done
fi
disconnect "$nqn"
say passed
