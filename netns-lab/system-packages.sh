#!/bin/sh
# Install the Debian packages named on the command line that are not there yet.
# Without root or apt this only says what is missing: the tests that need them
# are then skipped, and the summary of the test run says so.
set -eu

missing=
for package in "$@"; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Not installed:$missing. As root on Debian, 'make system' installs them." >&2
    exit 0
fi

echo "Installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
# A server that starts itself on installation would hold the ports the tests use.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
# shellcheck disable=SC2086
if ! { apt-get update -qq &&
    apt-get install -qq --yes --no-install-recommends $missing >/dev/null; }; then
    echo "Could not install:$missing. Debian's packages must be in reach (network," \
        "/etc/apt/sources.list); what apt-get said stands above." >&2
    exit 1
fi
