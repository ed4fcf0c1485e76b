#!/bin/bash
# logs_features.sh HOST PORT NQN: nvme-cli over what a controller tells and keeps: every identify structure, log page
# and feature that it may have, commands that move no data, a reset; and the status of what it does not have.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
host=$1 port=$2 nqn=$3

connect "$host" "$port" "$nqn"
controller=/dev/$(controller "$nqn")
nvme id-ctrl "$controller" >/run/id-ctrl
field() { sed -n "s/^$1 *: *//p" /run/id-ctrl; }

works() { # WHAT COMMAND...: succeeds, and says something
  "${@:2}" >/run/out 2>&1 || fail "$1: $*: $(</run/out)"
  [ -s /run/out ] || fail "$1: no output"
}
refused() { # STATUS COMMAND...: is refused with that status, in nvme-cli's words
  if "${@:2}" >/run/out 2>&1; then fail "$* was not refused"; fi
  grep -qiE "$1" /run/out || fail "$* was refused otherwise: $(</run/out)"
}

say identify
works "namespace" nvme id-ns "$device"
works "identification descriptors" nvme ns-descs "$device"
works "active namespaces" nvme list-ns "$controller"
works "allocated namespaces" nvme list-ns "$controller" --all
works "controllers" nvme list-ctrl "$controller"
works "I/O command set: namespace" nvme nvm-id-ns "$device"
works "I/O command set: controller" nvme nvm-id-ctrl "$controller"
works "subsystems" nvme list-subsys
nvme id-ns "$controller" --namespace-id=99 | grep -q 'nsze *: 0$' || fail "an unused namespace is not empty"
refused 'Invalid Namespace' nvme id-ns "$controller" --namespace-id=0xfffffff0

say log pages
works "errors" nvme error-log "$controller"
works "SMART" nvme smart-log "$controller"
works "firmware" nvme fw-log "$controller"
nvme changed-ns-list-log "$controller" || fail "changed namespaces"
nvme get-log "$controller" --log-id=5 --log-len=4096 --raw-binary >/run/effects || fail "commands and effects"
for opcode in 2 6 9 10 257 258; do # get log page, identify, set and get features, write, read
  (($(od -An -tu1 -j $((opcode * 4)) -N 1 /run/effects) & 1)) || fail "command $opcode is not in the effects log"
done
if (($(field cmic) & 8)); then works "ANA" nvme ana-log "$controller"; fi
if (($(field oncs) & 0x20)); then works "reservation notification" nvme resv-notif-log "$controller"; fi
for lid in 0x06 0x0d 0x0e 0x71 0xc0; do # self-test, endurance, predictable latency, a foreign one, a vendor's
  refused 'Invalid Log Page' nvme get-log "$controller" --log-id=$lid --log-len=512
done
nvme get-log "$controller" --log-id=2 --log-len=512 --raw-binary >/run/whole
nvme get-log "$controller" --log-id=2 --log-len=256 --lpo=256 --raw-binary >/run/half || fail "a log page from its middle"
[ "$(stat -c %s /run/half)" = 256 ] || fail "half a log page"

say features
for feature in 0x07 0x0b 0x0f; do # queues, events, keep alive
  works "feature $feature" nvme get-feature "$controller" --feature-id=$feature
done
if (($(field vwc) & 1)); then works "write cache" nvme get-feature "$controller" --feature-id=0x06; fi
nvme set-feature "$controller" --feature-id=0x0f --value=60000 >/dev/null || fail "set keep alive"
nvme get-feature "$controller" --feature-id=0x0f | grep -qiE '0x0*ea60$' || fail "keep alive is not what was set"
refused 'Invalid Field' nvme get-feature "$controller" --feature-id=0x7f
refused 'Invalid Field|Feature Not' nvme set-feature "$controller" --feature-id=0x7f --value=1

say commands
works "flush" nvme flush "$device" --namespace-id=1
works "write zeroes" nvme write-zeroes "$device" --start-block=8 --block-count=7
works "deallocate" nvme dsm "$device" --ad --slbs=8 --blocks=8
head -c 4096 /dev/urandom >/run/data
works "write" nvme write "$device" --start-block=8 --block-count=7 --data-size=4096 --data=/run/data
works "compare" nvme compare "$device" --start-block=8 --block-count=7 --data-size=4096 --data=/run/data
refused 'Compare Failure' nvme compare "$device" --start-block=16 --block-count=7 --data-size=4096 --data=/run/data
if (($(field oncs) & 0x80)); then works "verify" nvme verify "$device" --start-block=8 --block-count=7; fi
if (($(field oncs) & 0x100)); then
  works "copy" nvme copy "$device" --sdlba=24 --slbs=8 --blocks=7
  works "the copy" nvme compare "$device" --start-block=24 --block-count=7 --data-size=4096 --data=/run/data
fi
refused 'LBA Out of Range' nvme read "$device" --start-block=$(($(blockdev --getsz "$device") - 4)) --block-count=7 \
  --data-size=4096 --data=/run/sink
refused 'Invalid Command Opcode' nvme io-passthru "$device" --opcode=0x7e --namespace-id=1

say reset
nvme reset "$controller" || fail "reset"
for _ in {1..100}; do [ "$(<"/sys/class/nvme/${controller##*/}/state")" = live ] && break; sleep 0.1; done
works "write after the reset" nvme compare "$device" --start-block=8 --block-count=7 --data-size=4096 --data=/run/data
works "rescan" bash -c "nvme ns-rescan $controller && echo done"

say discovery
nvme discover -t tcp -a "$host" -s "$port" >/run/discovery
grep -q 'treq: *not specified' /run/discovery || fail "a discovery entry asks for a secure channel"
grep -q 'trtype: *tcp' /run/discovery || fail "no TCP entry"
disconnect "$nqn"
say passed
