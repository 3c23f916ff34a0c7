// Program kube is every program of Kubernetes that a cluster of the lab runs, in one
// binary, because they share nearly all of their packages:
//
//	kube apiserver|controller-manager|kubelet|proxy|scheduler [flags]
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// command returns the program of this name, nil if there is none.
func command(name string) *cobra.Command {
	switch name {
	case "apiserver":
		return apiserver.NewAPIServerCommand()
	case "controller-manager":
		return controllers.NewControllerManagerCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	case "proxy":
		return proxy.NewProxyCommand()
	case "scheduler":
		return scheduler.NewSchedulerCommand()
	}
	return nil
}

func main() {
	if len(os.Args) > 1 {
		if program := command(os.Args[1]); program != nil {
			os.Args = append([]string{"kube-" + os.Args[1]}, os.Args[2:]...)
			os.Exit(cli.Run(program))
		}
	}
	fmt.Fprintln(os.Stderr, "usage: kube apiserver|controller-manager|kubelet|proxy|scheduler [flags]")
	os.Exit(2)
}
