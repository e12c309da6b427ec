package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chaosplugin/interop/pb"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// gatesGRPC uses every method of GateService by the client that is generated of proto/: a gate that is followed to its
// end, by a second watch that goes on where the first was left, and one that is ended early.
func gatesGRPC(r request) (any, error) {
	conn, err := dial(r.Address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	gates := pb.NewGateServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()

	_, err = gates.StartGate(ctx, &pb.StartGateRequest{Namespace: "default"})
	field := ""
	for _, detail := range status.Convert(err).Details() {
		if bad, is := detail.(*errdetails.BadRequest); is {
			field = bad.FieldViolations[0].Field
		}
	}

	started, err := gates.StartGate(ctx, &pb.StartGateRequest{Namespace: "default", Rollout: "web", Config: []byte(r.RunJSON)})
	if err != nil {
		return nil, err
	}
	asked := &pb.WatchGatesRequest{Namespace: "default", Id: started.Gate.Id}
	first, err := follow(ctx, gates, asked, pb.Stage_STAGE_OBSERVING)
	if err != nil {
		return nil, err
	}
	asked.ResumeToken = first.token
	rest, err := follow(ctx, gates, asked, pb.Stage_STAGE_DONE)
	if err != nil {
		return nil, err
	}
	found, err := gates.GetGate(ctx, &pb.GetGateRequest{Namespace: "default", Id: started.Gate.Id})
	if err != nil {
		return nil, err
	}

	second, err := gates.StartGate(ctx, &pb.StartGateRequest{Namespace: "default", Rollout: "web", Config: []byte(r.RunJSON)})
	if err != nil {
		return nil, err
	}
	named := &pb.TerminateGateRequest{Namespace: "default", Id: second.Gate.Id}
	if _, err = gates.TerminateGate(ctx, named); err != nil {
		return nil, err
	}
	ended, err := follow(ctx, gates, &pb.WatchGatesRequest{Namespace: "default", Id: second.Gate.Id}, pb.Stage_STAGE_DONE)
	if err != nil {
		return nil, err
	}
	page, err := gates.ListGates(ctx, &pb.ListGatesRequest{Namespace: "default", PageSize: 1})
	if err != nil {
		return nil, err
	}
	last, err := gates.ListGates(ctx, &pb.ListGatesRequest{Namespace: "default", PageSize: 1, PageToken: page.NextPageToken})
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"field":  field,
		"first":  first.kinds,
		"rest":   rest.kinds,
		"stages": rest.stages,
		"phase":  found.Gate.Phase.String(),
		"value":  found.Gate.Value,
		"ended":  ended.reason,
		"listed": []bool{page.Gates[0].Id == second.Gate.Id, last.Gates[0].Id == started.Gate.Id, last.NextPageToken == ""},
	}, nil
}

type followed struct {
	kinds, stages []string
	token, reason string
}

// follow watches until a stage, and leaves.
func follow(ctx context.Context, gates pb.GateServiceClient, asked *pb.WatchGatesRequest, until pb.Stage) (followed, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var told followed
	stream, err := gates.WatchGates(ctx, asked)
	if err != nil {
		return told, err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return told, fmt.Errorf("host: after %v: %w", told.stages, err)
		}
		if response.ResumeToken == "" {
			return told, errors.New("host: a response without a token")
		}
		told.kinds, told.token = append(told.kinds, response.Kind.String()), response.ResumeToken
		for _, event := range response.Events {
			told.stages, told.reason = append(told.stages, event.Gate.Stage.String()), event.Gate.Reason
			if event.Gate.Stage == until {
				return told, nil
			}
		}
	}
}
