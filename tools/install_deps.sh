#!/usr/bin/env bash
# Installs what building and testing need, from the distribution's own packages. Does nothing when all is there.
#   tools/install_deps.sh build        what ./quickstart needs
#   tools/install_deps.sh build test   what ./test needs besides
set -euo pipefail

build_packages=(
  g++ cmake ninja-build ccache lld pkg-config
  liburing-dev libfmt-dev libspdlog-dev libcli11-dev nlohmann-json3-dev libyaml-cpp-dev
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc
  libcpp-httplib-dev prometheus-cpp-dev libssl-dev zlib1g-dev libarchive-dev libsqlite3-dev
  libfuse3-dev fuse3 libblkid-dev libmount-dev libudev-dev libnvme-dev
  libgtest-dev libgmock-dev
  e2fsprogs util-linux python3
)
test_packages=(
  clang-14 clang-format-14 clang-tidy-14 clang-tools-14 libclang-rt-14-dev
  qemu-system-x86 cpio nvme-cli fio xfsprogs iproute2 etcd-server
)

wanted=()
for group in "$@"; do
  case "$group" in
    build) wanted+=("${build_packages[@]}") ;;
    test) wanted+=("${test_packages[@]}") ;;
    *) echo "usage: $0 build|test ..." >&2; exit 2 ;;
  esac
done

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "install_deps: needs root to install: ${missing[*]}" >&2; exit 1; }
  sudo=sudo
fi
echo "Installing ${#missing[@]} packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { ${sudo:-} apt-get update && ${sudo:-} env DEBIAN_FRONTEND=noninteractive \
       apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "install_deps: installing failed (above)" >&2
  exit 1
fi
