#!/bin/bash
# conformance.sh HOST PORT NQN PROGRAM: what PROGRAM, a holdfast tool, says of a target, into /share/report.json. Failed
# cases are for the caller to judge: this fails only when there is no report.
set -euo pipefail
host=$1 port=$2 nqn=$3 program=$4
status=0
"$program" nvme-conformance "nvmf://$host:$port/$nqn" --destructive --timeout 4 -v --output json \
  --output-file /share/report.json || status=$?
[ "$status" -le 1 ] && [ -s /share/report.json ]
touch /share/reported
