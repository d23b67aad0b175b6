package main

import (
	"io"
	"strings"
	"testing"
)

func TestArrange(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	for in, want := range map[string]string{
		"edgeagent":                                   "edgeagent",
		"edgeagent join host:1 --token x":             "edgeagent join --token x host:1",
		"edgeagent join host:1 --token=x --force":     "edgeagent join --token=x --force host:1",
		"edgeagent join --force host:1 --name n":      "edgeagent join --force --name n host:1",
		"edgeagent drivers list -o json":              "edgeagent drivers list -o json",
		"edgeagent join -- --token x":                 "edgeagent join -- --token x",
		"edgeagent join x --odd y":                    "edgeagent join --odd x y",
		"edgeagent bogus --token x":                   "edgeagent --token bogus x",
		"edgeagent join a --generate-bash-completion": "edgeagent join a --generate-bash-completion",
	} {
		if got := strings.Join(arrange(app.Commands, strings.Fields(in)), " "); got != want {
			t.Errorf("%s:\n got %s\nwant %s", in, got, want)
		}
	}
}
