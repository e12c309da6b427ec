package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"chaosplugin/interop/pb"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// sampleMetrics is the service of proto/ in Go, doing nothing, to compare with.
type sampleMetrics struct {
	pb.UnimplementedMetricProviderServiceServer
}

func (sampleMetrics) Resume(_ context.Context, r *pb.ResumeRequest) (*pb.ResumeResponse, error) {
	var run, metric, measurement map[string]any // a server has to read what it is asked
	for data, into := range map[*[]byte]*map[string]any{&r.AnalysisRun: &run, &r.Metric: &metric, &r.Measurement: &measurement} {
		if err := json.Unmarshal(*data, into); err != nil {
			return nil, err
		}
	}
	return &pb.ResumeResponse{Measurement: r.Measurement}, nil
}

func serveSampleMetrics(path string) error {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	pb.RegisterMetricProviderServiceServer(server, sampleMetrics{})
	go server.Serve(listener)
	return nil
}

func dial(path string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// pacedGRPC makes calls of Resume one after the other, and gives the seconds of each.
func pacedGRPC(r request) (any, error) {
	conn, err := dial(r.Address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := pb.NewMetricProviderServiceClient(conn)
	run, _ := json.Marshal(r.Run)
	metric, _ := json.Marshal(r.Metric)
	measurement, _ := json.Marshal(r.Measurement)
	asked := &pb.ResumeRequest{AnalysisRun: run, Metric: metric, Measurement: measurement}
	var seconds []float64
	for range r.Count {
		start := time.Now()
		if _, err := client.Resume(context.Background(), asked); err != nil {
			return nil, err
		}
		seconds = append(seconds, time.Since(start).Seconds())
	}
	return seconds, nil
}

// watchGRPC opens as many watches as there are callers, and waits until each has been told of as many events as asked.
func watchGRPC(r request) (any, error) {
	const perConnection = 100
	var conns []*grpc.ClientConn
	for range (r.Callers + perConnection - 1) / perConnection {
		conn, err := dial(r.Address)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	faults := make(chan error, r.Callers)
	var all sync.WaitGroup
	for caller := range r.Callers {
		all.Add(1)
		go func() {
			defer all.Done()
			stream, err := pb.NewGateServiceClient(conns[caller%len(conns)]).WatchGates(ctx, &pb.WatchGatesRequest{})
			if err != nil {
				faults <- err
				return
			}
			for told := 0; told < r.Count; {
				response, err := stream.Recv()
				if err != nil {
					faults <- err
					return
				}
				if response.Missed > 0 {
					faults <- fmt.Errorf("host: %d events were missed", response.Missed)
					return
				}
				if response.Kind == pb.WatchGatesResponse_KIND_EVENTS {
					told += len(response.Events)
				}
			}
		}()
	}
	all.Wait()
	select {
	case err := <-faults:
		return nil, err
	default:
		return nil, nil
	}
}
