#!/bin/sh
# Build an OCI image of each program from the Debian package in dist/:
#   sh packaging/build-images.sh
# They lie in dist/images/, an OCI layout, and share the layers of one Debian 12. Needs
# Debian's mmdebstrap and umoci, and root.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/pyproject.toml" | head -n 1)
images=$here/dist/images
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

rm -rf "$images"
umoci init --layout "$images"
umoci new --image "$images:base"
umoci unpack --image "$images:base" "$stage/bundle"
sh "$here/packaging/debian-tree.sh" "$stage/tree" systemd-standalone-sysusers
cp -a "$stage/tree/." "$stage/bundle/rootfs/"
umoci repack --image "$images:base" "$stage/bundle"

for program in meshwg meshwg-coordinator; do
    case $program in
    meshwg) command=node state=/var/lib/meshwg ;;
    meshwg-coordinator) command=serve state=/var/lib/meshwg-coordinator ;;
    esac
    umoci config --image "$images:base" --tag "$program-$version" \
        --config.entrypoint "/usr/bin/$program" --config.cmd "$command" \
        --config.env PATH=/usr/sbin:/usr/bin:/sbin:/bin --config.volume "$state" \
        --config.label "org.opencontainers.image.title=$program" \
        --config.label "org.opencontainers.image.version=$version" \
        --config.label org.opencontainers.image.licenses=Apache-2.0
done
umoci rm --image "$images:base"
umoci gc --layout "$images"
umoci ls --layout "$images"
