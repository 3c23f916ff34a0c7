#!/bin/sh
# Pin other versions: sh netns-lab/kubernetes/pin.sh 1.37.2 3.7.3 (Kubernetes, etcd)
# It writes go.mod and go.sum of both modules. Kubernetes names its own libraries by their
# places in its repository, so each is replaced by the version that belongs to it.
set -eu

kubernetes=v$1 libraries=v0.${1#1.} etcd=v$2
here=$(cd "$(dirname "$0")" && pwd)

cd "$here/kube"
go mod download "k8s.io/kubernetes@$kubernetes"
theirs=$(go env GOMODCACHE)/cache/download/k8s.io/kubernetes/@v/$kubernetes.mod
{
    printf 'module meshwg.test/kube\n\n'
    grep '^go ' "$theirs"
    printf '\nrequire k8s.io/kubernetes %s\n\nreplace (\n' "$kubernetes"
    sed -n 's,^[[:space:]]*\(k8s.io/[a-z-]*\) => \./staging.*,\1,p' "$theirs" |
        while read -r library; do printf '\t%s => %s %s\n' "$library" "$library" "$libraries"; done
    printf ')\n'
} >go.mod
go mod tidy

cd "$here/etcd"
{
    printf 'module meshwg.test/etcd\n\n'
    grep '^go ' "$here/kube/go.mod"
    printf '\nrequire go.etcd.io/etcd/server/v3 %s\n' "$etcd"
} >go.mod
go mod tidy
