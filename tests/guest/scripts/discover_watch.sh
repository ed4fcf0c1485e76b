#!/bin/bash
# discover_watch.sh HOST PORT NQN PROGRAM: `PROGRAM discover --watch`, a holdfast tool, sees at once what the kernel's
# target in this guest offers and withdraws.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
host=$1 port=$2 nqn=$3 program=$4
target=/sys/kernel/config/nvmet other=$nqn-2 seen=/run/seen

shows() { # LINE-PATTERN: within 10 s; a service without notices is asked every 30 s
  local tries
  for tries in {1..100}; do
    ! grep -Eq "$1" "$seen" || return 0
    sleep 0.1
  done
  cat "$seen"
  fail "discover --watch does not show '$1' ($tries looks)"
}

mkdir "$target/subsystems/$other"
echo 1 >"$target/subsystems/$other/attr_allow_any_host"
"$program" discover "$host:$port" --watch >"$seen" &
watch=$!
shows "^nvm .*$nqn$"
say "the log is read"
ln -s "$target/subsystems/$other" "$target/ports/1/subsystems/"
shows "^\+ nvm .*$other$"
say "a subsystem came"
rm "$target/ports/1/subsystems/$other"
shows "^- nvm .*$other$"
say "and went"
kill -0 "$watch"
kill "$watch"
