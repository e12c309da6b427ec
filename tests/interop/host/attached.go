package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	netrpc "net/rpc"

	metricrpc "github.com/argoproj/argo-rollouts/metricproviders/plugin/rpc"
	hclog "github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
)

// session is a second way into a plugin that runs already: go-plugin's reattaching, with the net/rpc client laid bare, to say
// what no controller says.
type session struct {
	protocol goplugin.ClientProtocol
	rpc      *netrpc.Client
}

var attached session

// bare is a plugin whose client side is the net/rpc client itself.
type bare struct{}

func (bare) Server(*goplugin.MuxBroker) (any, error) {
	return nil, errors.New("host: serves nothing")
}
func (bare) Client(_ *goplugin.MuxBroker, c *netrpc.Client) (any, error) { return c, nil }

func reattach(address string, pid int) error {
	c := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: handshake,
		Plugins:         map[string]goplugin.Plugin{"RpcMetricProviderPlugin": bare{}, "RpcStepPlugin": bare{}, "RpcMissingPlugin": bare{}},
		Logger:          hclog.New(&hclog.LoggerOptions{Output: io.Discard}),
		Reattach:        &goplugin.ReattachConfig{Protocol: goplugin.ProtocolNetRPC, ProtocolVersion: 1, Addr: &net.UnixAddr{Name: address, Net: "unix"}, Pid: pid, Test: true},
	})
	protocol, err := c.Client()
	if err != nil {
		return err
	}
	attached = session{protocol: protocol}
	return attached.dispense("RpcMetricProviderPlugin")
}

func (s *session) ping() error { return s.protocol.Ping() }

func (s *session) dispense(name string) error {
	raw, err := s.protocol.Dispense(name)
	if err != nil {
		return err
	}
	s.rpc = raw.(*netrpc.Client)
	return nil
}

// raw calls a method with an argument that may not be the one it wants.
func (s *session) raw(method, argument string) (any, error) {
	var arg any
	switch argument {
	case "nil":
		arg = new(any)
	case "run":
		var v any = metricrpc.RunArgs{}
		arg = &v
	case "terminate":
		var v any = metricrpc.TerminateAndResumeArgs{}
		arg = &v
	case "string":
		arg = "a plain string, where an interface is wanted"
	default:
		return nil, fmt.Errorf("host: no argument %q", argument)
	}
	return nil, s.rpc.Call(method, arg, nil)
}

// quit sends Control.Quit and closes the connection.
func (s *session) quit() error { return s.protocol.Close() }
