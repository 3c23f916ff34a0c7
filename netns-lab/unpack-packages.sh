#!/bin/sh
# Unpack Debian packages, without installing them, each into a directory of its name
# below the first argument. Those named here would take over this machine's name servers
# if they were installed. Without root or apt this only says what is missing: the tests
# that need them are then skipped, and the summary of the test run says so.
set -eu

directory=$1
shift
missing=
for package in "$@"; do
    [ -d "$directory/$package" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Not unpacked:$missing. As root on Debian, 'make system' does that." >&2
    exit 0
fi

echo "Unpacking Debian packages:$missing"
mkdir -p "$directory"
directory=$(realpath "$directory")
downloads=$(mktemp -d)
trap 'rm -rf "$downloads"' EXIT
cd "$downloads"
for package in $missing; do
    if ! apt-get download -qq -o APT::Sandbox::User=root "$package"; then
        apt-get update -qq
        apt-get download -qq -o APT::Sandbox::User=root "$package"
    fi
    mkdir unpacked
    dpkg --extract "$package"_*.deb unpacked
    # Debian's own files are below /usr, whatever their packages say.
    for top in bin sbin lib; do
        if [ -d "unpacked/$top" ]; then
            mkdir -p "unpacked/usr/$top"
            cp -a "unpacked/$top/." "unpacked/usr/$top/"
            rm -r "unpacked/$top"
        fi
    done
    mv unpacked "$directory/$package"
done
