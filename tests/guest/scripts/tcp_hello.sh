#!/bin/bash
# tcp_hello.sh PORT: the host's loopback is reachable, in both directions.
set -euo pipefail
exec 3<>"/dev/tcp/$GUEST_HOST/$1"
read -r line <&3
echo "hello host" >&3
[ "$line" = "hello guest" ]
