// Command peer is the other end for parts of a plugin: one of hashicorp/yamux, in either role (sessions.go), and the host of
// hashicorp/go-plugin as far as it reads what a plugin writes to its log (log.go).
//
// Each line on stdin is a request {"id": 1, "op": "ping", ...}; each gets one line on stdout {"id": 1, "result": ..., "error": "..."}.
// All requests run at the same time. The end of stdin ends the program.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

type request struct {
	ID      int      `json:"id"`
	Op      string   `json:"op"`
	Session int      `json:"session"`
	Stream  uint32   `json:"stream"`
	Size    int      `json:"size"`    // write, read
	Hex     string   `json:"hex"`     // inject
	Path    string   `json:"path"`    // dial
	Role    string   `json:"role"`    // dial: client, server
	Config  settings `json:"config"`  // dial
	Command []string `json:"command"` // read_log
	Gate    string   `json:"gate"`    // read_log
	Level   string   `json:"level"`   // read_log
}

type response struct {
	ID      int     `json:"id"`
	Result  any     `json:"result"`
	Error   string  `json:"error"`
	Seconds float64 `json:"seconds"`
}

func answer(r request) (any, error) {
	switch r.Op {
	case "dial":
		return dial(r.Path, r.Role, r.Config)
	case "read_log":
		return readLog(r.Command, r.Gate, r.Level)
	}
	session := find(r.Session)
	if session == nil {
		return nil, fmt.Errorf("peer: no session %d", r.Session)
	}
	return session.do(r)
}

func main() {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), json.NewEncoder(os.Stdout)
	var writing sync.Mutex
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			fmt.Fprintln(os.Stderr, "peer:", err)
			os.Exit(1)
		}
		go func() {
			begun := time.Now()
			said := response{ID: r.ID}
			result, err := answer(r)
			said.Result, said.Seconds = result, time.Since(begun).Seconds()
			if err != nil {
				said.Error = err.Error()
			}
			writing.Lock()
			defer writing.Unlock()
			if err := out.Encode(said); err != nil {
				fmt.Fprintln(os.Stderr, "peer:", err)
				os.Exit(1)
			}
		}()
	}
}
