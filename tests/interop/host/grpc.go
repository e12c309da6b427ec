package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"chaosplugin/interop/pb"

	hclog "github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
)

// overGRPC is a host of go-plugin's gRPC mode with one plugin: what no controller of today is.
type overGRPC struct {
	client   *goplugin.Client
	protocol goplugin.ClientProtocol
	metrics  pb.MetricProviderServiceClient
	conn     *grpc.ClientConn
	printed  safeBuffer
	logged   safeBuffer
}

var remote overGRPC

// metricsPlugin is the plugin's client side: the generated client of proto/.
type metricsPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (metricsPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("host: serves nothing")
}
func (metricsPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return c, nil
}

type safeBuffer struct {
	mutex sync.Mutex
	bytes bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.bytes.Write(p)
}
func (b *safeBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.bytes.String()
}

func (o *overGRPC) start(r request) error {
	cmd := exec.Command(r.Command[0], r.Command[1:]...)
	*o = overGRPC{}
	o.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:     handshake,
		Plugins:             map[string]goplugin.Plugin{"chaos": metricsPlugin{}},
		Cmd:                 cmd,
		AutoMTLS:            r.MTLS,
		GRPCBrokerMultiplex: r.Multiplex,
		UnixSocketConfig:    &goplugin.UnixSocketConfig{Group: r.Group},
		AllowedProtocols:    []goplugin.Protocol{goplugin.ProtocolGRPC},
		SyncStdout:          &o.printed,
		Logger:              hclog.New(&hclog.LoggerOptions{Output: io.MultiWriter(&o.logged, os.Stderr), Level: hclog.Debug}),
		Managed:             true,
	})
	protocol, err := o.client.Client()
	if err != nil {
		return err
	}
	raw, err := protocol.Dispense("chaos")
	if err != nil {
		return err
	}
	o.protocol, o.conn = protocol, raw.(*grpc.ClientConn)
	o.metrics = pb.NewMetricProviderServiceClient(o.conn)
	return nil
}

// run asks for a measurement; run and metric are JSON.
func (o *overGRPC) run(run, metric string) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	answer, err := o.metrics.Run(ctx, &pb.RunRequest{AnalysisRun: []byte(run), Metric: []byte(metric)})
	if err != nil {
		return nil, err
	}
	return string(answer.Measurement), nil
}

// services lists what reflection tells of.
func (o *overGRPC) services() (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	stream, err := grpc_reflection_v1.NewServerReflectionClient(o.conn).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	asked := &grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(asked); err != nil {
		return nil, err
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, service := range answer.GetListServicesResponse().GetService() {
		names = append(names, service.Name)
	}
	slices.Sort(names)
	return names, nil
}

// kill ends the plugin as a host does at its own end, and tells how that went.
func (o *overGRPC) kill() (any, error) {
	start := time.Now()
	pid := o.client.ReattachConfig().Pid
	o.client.Kill()
	return map[string]any{"exited": o.client.Exited(), "pid": pid, "seconds": time.Since(start).Seconds(), "log": o.logged.String()}, nil
}

func overGRPCAnswer(r request) (any, error) {
	switch r.Op {
	case "grpc_start":
		return nil, remote.start(r)
	case "grpc_ping":
		return nil, remote.protocol.Ping()
	case "grpc_run":
		return remote.run(r.RunJSON, r.MetricJSON)
	case "grpc_services":
		return remote.services()
	case "grpc_printed":
		return remote.printed.String(), nil
	case "grpc_kill":
		return remote.kill()
	case "grpc_serve":
		return nil, serveSampleMetrics(r.Address)
	case "grpc_paced":
		return pacedGRPC(r)
	case "grpc_gates":
		return gatesGRPC(r)
	case "grpc_watch":
		return watchGRPC(r)
	}
	return nil, fmt.Errorf("host: no operation %q", r.Op)
}
