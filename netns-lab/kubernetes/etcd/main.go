// Program etcd is the etcd server: Debian's is too old for the API server, which asks
// it how far a watch has come.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
