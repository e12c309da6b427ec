package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metricrpc "github.com/argoproj/argo-rollouts/metricproviders/plugin/rpc"
	hclog "github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
)

// runner is a plugin that runs already, behind Argo's own client; several may be had at a time, to be timed in turn.
type runner struct {
	protocol goplugin.ClientProtocol
	plugin   metricrpc.MetricProviderPlugin
}

var runners sync.Map // of *runner, by the address of their sockets

func join(address string, pid int) error {
	c := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: handshake,
		Plugins:         map[string]goplugin.Plugin{"RpcMetricProviderPlugin": &metricrpc.RpcMetricProviderPlugin{}},
		Logger:          hclog.New(&hclog.LoggerOptions{Output: io.Discard}),
		Reattach:        &goplugin.ReattachConfig{Protocol: goplugin.ProtocolNetRPC, ProtocolVersion: 1, Addr: &net.UnixAddr{Name: address, Net: "unix"}, Pid: pid, Test: true},
	})
	protocol, err := c.Client()
	if err != nil {
		return err
	}
	raw, err := protocol.Dispense("RpcMetricProviderPlugin")
	if err != nil {
		return err
	}
	runners.Store(address, &runner{protocol, raw.(metricrpc.MetricProviderPlugin)})
	return nil
}

func leave(address string) error {
	known, _ := runners.LoadAndDelete(address)
	r, ok := known.(*runner)
	if !ok {
		return fmt.Errorf("host: nothing was joined at %q", address)
	}
	return r.protocol.Close()
}

// paced makes as many calls one after the other as asked, in as many goroutines as there are callers, and gives the seconds of
// each. Nothing else is timed: arguments are there before, and JSON comes after.
func paced(r request) (any, error) {
	known, _ := runners.Load(r.Address)
	to, ok := known.(*runner)
	if !ok {
		return nil, fmt.Errorf("host: nothing was joined at %q", r.Address)
	}
	callers := max(r.Callers, 1)
	seconds, faults := make([][]float64, callers), make(chan error, callers)
	var all sync.WaitGroup
	for caller := range callers {
		all.Add(1)
		go func() {
			defer all.Done()
			for range r.Count {
				call := r.changed()
				start := time.Now()
				if err := to.once(call); err != nil {
					faults <- err
					return
				}
				seconds[caller] = append(seconds[caller], time.Since(start).Seconds())
			}
		}()
	}
	all.Wait()
	select {
	case err := <-faults:
		return nil, err
	default:
		return seconds, nil
	}
}

var versions atomic.Int64

// changed is the request after one more write of its AnalysisRun, as no two calls of a controller bring the same one.
func (r request) changed() request {
	if r.Run != nil {
		run := *r.Run
		run.ResourceVersion = strconv.FormatInt(versions.Add(1), 10)
		r.Run = &run
	}
	return r
}

func (to *runner) once(r request) error {
	switch r.Method {
	case "Ping":
		return to.protocol.Ping()
	case "Run":
		return fault(to.plugin.Run(r.Run, r.Metric).Message)
	case "Resume":
		return fault(to.plugin.Resume(r.Run, r.Metric, r.Measurement).Message)
	}
	return fmt.Errorf("host: %q is not timed", r.Method)
}

// fault finds what Argo's client makes of a call that did not reach the plugin.
func fault(message string) error {
	if strings.Contains(message, "rpc call error") {
		return errors.New(message)
	}
	return nil
}
