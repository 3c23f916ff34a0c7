#!/bin/sh
# Build the Debian package from the wheels in dist/, and put it there:
#   sh packaging/build-deb.sh
# Needs Debian's debhelper and dpkg-dev. What the package holds is in packaging/debian.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/pyproject.toml" | head -n 1)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

tree=$stage/meshwg-$version
mkdir "$tree"
cd "$here"
for each in README.md CHANGELOG.md LICENSE constraints.txt docs systemd dist; do
    cp -r "$each" "$tree/"
done
rm -f "$tree"/dist/*.deb
cp -r packaging/debian "$tree/debian"
sed -i "1s/(.*)/($version)/" "$tree/debian/changelog"

cd "$tree"
dpkg-buildpackage --build=binary --no-sign --unsigned-changes >"$stage/log" 2>&1 || {
    tail -n 40 "$stage/log" >&2
    exit 1
}
cp "$stage"/meshwg_"$version"_*.deb "$here/dist/"
ls "$here"/dist/meshwg_"$version"_*.deb
