// Command host loads a metric plugin as the Argo Rollouts controller does, with its own packages, and drives it as it is told.
//
// Each line on stdin is a request {"id": 1, "op": "call", ...}; each gets one line on stdout {"id": 1, "result": ..., "error": "..."}.
// Requests run at the same time, except that "wait" is answered only when all before it are done. The end of stdin ends the host,
// which then lets go of its plugins as the controller does at its own end.
//
// Started by such a host itself, it is a sample plugin in Go, to compare ours with.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	goplugin "github.com/hashicorp/go-plugin"
)

type request struct {
	ID          int                   `json:"id"`
	Op          string                `json:"op"`
	Plugins     string                `json:"plugins"`     // load: the text of metricProviderPlugins
	Method      string                `json:"method"`      // call, raw, paced
	Run         *v1alpha1.AnalysisRun `json:"run"`         // call, paced
	Metric      v1alpha1.Metric       `json:"metric"`      // call, paced
	Measurement v1alpha1.Measurement  `json:"measurement"` // call, paced
	Limit       int                   `json:"limit"`       // call, paced
	Address     string                `json:"address"`     // reattach, join, leave, paced
	Pid         int                   `json:"pid"`         // reattach, join
	Count       int                   `json:"count"`       // paced: calls of each caller
	Callers     int                   `json:"callers"`     // paced, crowd
	Members     []member              `json:"members"`     // crowd
	Name        string                `json:"name"`        // dispense
	Argument    string                `json:"argument"`    // raw: nil, empty, run, terminate, string
	Command     []string              `json:"command"`     // grpc_start
	MTLS        bool                  `json:"mtls"`        // grpc_start
	Multiplex   bool                  `json:"multiplex"`   // grpc_start
	Group       string                `json:"group"`       // grpc_start
	RunJSON     string                `json:"run_json"`    // grpc_run; grpc_gates: the configuration
	MetricJSON  string                `json:"metric_json"` // grpc_run
}

type response struct {
	ID      int     `json:"id"`
	Result  any     `json:"result"`
	Error   string  `json:"error"`
	Seconds float64 `json:"seconds"`
}

func answer(r request) (any, error) {
	switch r.Op {
	case "load":
		return nil, load(r.Plugins)
	case "call":
		return call(r)
	case "cleanup":
		goplugin.CleanupClients()
		return nil, nil
	case "reattach":
		return nil, reattach(r.Address, r.Pid)
	case "ping":
		return nil, attached.ping()
	case "dispense":
		return nil, attached.dispense(r.Name)
	case "raw":
		return attached.raw(r.Method, r.Argument)
	case "quit":
		return nil, attached.quit()
	case "join":
		return nil, join(r.Address, r.Pid)
	case "leave":
		return nil, leave(r.Address)
	case "paced":
		return paced(r)
	case "crowd":
		return crowd(r)
	}
	return overGRPCAnswer(r)
}

func main() {
	if os.Getenv(handshake.MagicCookieKey) != "" {
		serveSample()
		return
	}
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), json.NewEncoder(os.Stdout)
	var writing sync.Mutex
	var calls sync.WaitGroup
	reply := func(r response) {
		writing.Lock()
		defer writing.Unlock()
		if err := out.Encode(r); err != nil {
			fmt.Fprintln(os.Stderr, "host:", err)
			os.Exit(1)
		}
	}
	for lines := json.NewDecoder(in); ; {
		var r request
		if err := lines.Decode(&r); err != nil {
			break
		}
		if r.Op == "wait" {
			calls.Wait()
			reply(response{ID: r.ID})
			continue
		}
		calls.Add(1)
		go func() {
			defer calls.Done()
			start := time.Now()
			result, err := answer(r)
			text := ""
			if err != nil {
				text = err.Error()
			}
			reply(response{r.ID, result, text, time.Since(start).Seconds()})
		}()
	}
	done := make(chan struct{})
	go func() { calls.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second): // a call that is never answered must not keep an orphan alive
	}
	goplugin.CleanupClients()
}
