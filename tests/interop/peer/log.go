package main

import (
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
)

// readLog runs a plugin that prints its handshake line, waits for the gate (a FIFO) to be opened, and ends by itself. The result
// is what the host's logger has made of the plugin's stderr, and what that was.
func readLog(command []string, gate, level string) (any, error) {
	var logged, raw lockedBuffer
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "KEY", MagicCookieValue: "value"},
		Plugins:         map[string]goplugin.Plugin{},
		Cmd:             exec.Command(command[0], command[1:]...),
		Stderr:          &raw,
		Logger: hclog.New(&hclog.LoggerOptions{
			Name: "plugin", Level: hclog.LevelFromString(level), Output: &logged, JSONFormat: true,
		}),
	})
	defer client.Kill()
	if _, err := client.Start(); err != nil {
		return nil, err
	}
	opened, err := os.OpenFile(gate, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	opened.Close()
	for end := time.Now().Add(30 * time.Second); !client.Exited() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	return map[string][]string{"logged": lines(logged.String()), "raw": lines(raw.String())}, nil
}

func lines(text string) []string {
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
