#!/bin/sh
# Build the core, install it, and touch a file: sh core/install.sh PIP FILE
# With the cargo that is there; else, as root on Debian 12, with the one from apt.
# Where neither can be, this says so, and packages are carried in Python.
set -eu

pip=$1 done=$2
here=$(cd "$(dirname "$0")" && pwd)
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/Cargo.toml")

without() {
    echo "Without the compiled core, since $1: packages are carried in Python."
    exit 0
}

is_debian_12() {
    grep -qx 'ID=debian' /etc/os-release && grep -qx 'VERSION_ID="12"' /etc/os-release
}

if ! command -v cargo >/dev/null; then
    [ "$(id -u)" -eq 0 ] && is_debian_12 2>/dev/null ||
        without "there is no cargo, which only root on Debian 12 gets from apt"
    sh "$here/../netns-lab/system-packages.sh" cargo-web rustc-web ||
        without "apt could not install cargo-web"
fi
found=$(cargo --version | cut -d ' ' -f 2)
[ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" = "$needed" ] ||
    without "cargo $found is older than $needed"

# pip builds it apart from the environment, with the maturin of the constraints. Newer
# versions of pip have a name of its own for these.
constraints=$here/../constraints.txt
PIP_CONSTRAINT=$constraints PIP_BUILD_CONSTRAINT=$constraints \
    "$pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$here"
touch "$done"
