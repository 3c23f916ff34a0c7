#!/bin/sh
# Make a Debian 12 with the package in it: sh packaging/debian-tree.sh DIRECTORY [PACKAGE…]
# Needs Debian's mmdebstrap, and root. The packages are installed beside ours; they come
# from where this machine has its own.
set -eu

tree=$1
shift
here=$(cd "$(dirname "$0")/.." && pwd)
built=$(ls "$here"/dist/meshwg_*.deb | tail -n 1)
packages=ca-certificates,iproute2,nftables,python3
for each in "$@"; do packages=$packages,$each; done
sources=
for each in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ ! -s "$each" ] || sources="$sources $each"
done

# shellcheck disable=SC2086
mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --customize-hook="copy-in $built /var/tmp" \
    --customize-hook='chroot "$1" sh -c "dpkg --install /var/tmp/meshwg_*.deb && rm /var/tmp/meshwg_*.deb"' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/*' \
    bookworm "$tree" $sources
