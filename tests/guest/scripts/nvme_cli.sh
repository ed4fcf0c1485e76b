#!/bin/bash
# nvme_cli.sh HOST PORT NQN
# What nvme-cli asks of a controller: log pages, features, identify, and the I/O commands that no filesystem sends.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
host=$1 port=$2 nqn=$3

connect "$host" "$port" "$nqn"
controller=/dev/$(controller "$nqn")
must() { "$@" >/run/out 2>&1 || fail "$*: $(</run/out)"; }
refused() { # by the controller, not by nvme-cli
  if "$@" >/run/out 2>&1; then fail "accepted: $*"; fi
  grep -qi 'nvme status' /run/out || fail "$* failed otherwise: $(</run/out)"
}

say log pages
for log in smart-log error-log fw-log effects-log changed-ns-list-log supported-log-pages; do
  must nvme "$log" "$controller"
done
must nvme smart-log "$device"
must nvme resv-notif-log "$controller"
refused nvme telemetry-log "$controller" -o /run/telemetry

say identify
for id in id-ctrl list-ns list-ctrl nvm-id-ctrl id-iocs; do must nvme "$id" "$controller"; done
must nvme list-ns "$controller" --all
for id in id-ns ns-descs; do must nvme "$id" "$device"; done
must nvme resv-report "$device" --eds
must nvme cmdset-ind-id-ns "$controller" -n 1
refused nvme primary-ctrl-caps "$controller"

say features
for feature in 1 2 4 5 6 7 0xa 0xb 0xe 0xf 0x19; do
  for select in 0 1 2 3; do must nvme get-feature "$controller" -f "$feature" -s "$select"; done
done
must nvme set-feature "$controller" -f 5 -v 3
nvme get-feature "$controller" -f 5 | grep -i 00000003 || fail "error recovery was not kept"
refused nvme set-feature "$controller" -f 7 -v 0x10001   # there are I/O queues
refused nvme get-feature "$controller" -f 8              # interrupts: not over fabrics

say I/O commands
head -c 4096 /dev/urandom >/run/block
must nvme write "$device" -s 0 -c 7 -z 4096 -d /run/block
must nvme compare "$device" -s 0 -c 7 -z 4096 -d /run/block
must nvme copy "$device" --sdlba=100 --slbs=0 --blocks=7
must nvme compare "$device" -s 100 -c 7 -z 4096 -d /run/block
must nvme verify "$device" -s 0 -c 1000
must nvme flush "$device" -n 1
must nvme write-zeroes "$device" -s 0 -c 7 -d
refused nvme compare "$device" -s 0 -c 7 -z 4096 -d /run/block
must nvme dsm "$device" -d -s 100 -b 8
refused nvme write-uncor "$device" -s 0 -c 0
must nvme error-log "$controller" -e 4
grep -qE '^error_count[[:space:]]*: *[1-9]' /run/out || fail "the refusals are not in the error log: $(</run/out)"

say reset
must nvme reset "$controller"
must nvme smart-log "$controller"
disconnect "$nqn"
say passed
