package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/api/apitest"
	"github.com/edgeio/edgeio/control/api/server"
)

// edgectl runs a command line against a server and returns its exit code.
func edgectl(t *testing.T, conf config, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edgectl.yaml")
	if err := writeConfig(path, conf); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var out, errs strings.Builder
	p := &program{stdin: null, stdout: &out, stderr: &errs, now: time.Now, getenv: func(k string) string {
		if k == "EDGECTL_CONFIG" {
			return path
		}
		return env[k]
	}}
	code = p.run(t.Context(), append([]string{"edgectl"}, args...))
	return code, out.String(), errs.String()
}

func serve(t *testing.T) config {
	srv := httptest.NewUnstartedServer(server.Handler(apitest.New().Backend(), server.Options{Log: slog.New(slog.DiscardHandler)}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return config{Address: addresses{srv.Listener.Addr().String()}, Authority: encode(srv.Certificate()), Token: apitest.Token}
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestExitCodes(t *testing.T) {
	good := serve(t)
	down := good
	down.Address = addresses{nobody(t)}
	spare := good
	spare.Address = addresses{nobody(t), good.Address[0]}
	strange := good
	strange.Authority = ""
	for _, tt := range []struct {
		name string
		conf config
		env  map[string]string
		args []string
		code int
		want string // in stderr
	}{
		{"done", good, nil, []string{"job", "ls"}, exitDone, ""},
		{"second address", spare, nil, []string{"job", "ls"}, exitDone, ""},
		{"second address exec", spare, nil, []string{"job", "exec", "x", "--", "ls"}, exitNotFound, "x"},
		{"not found", good, nil, []string{"job", "show", "nothing"}, exitNotFound, `no job has the id or name "nothing"`},
		{"not found logs", good, nil, []string{"job", "logs", "nothing"}, exitNotFound, "nothing"},
		{"not found events", good, nil, []string{"job", "events", "-f", "nothing"}, exitNotFound, "nothing"},
		{"unreachable", down, nil, []string{"job", "ls"}, exitUnreachable, down.Address[0]},
		{"unreachable events", down, nil, []string{"events", "-f"}, exitUnreachable, "does not answer"},
		{"environment is stronger than the file", down, map[string]string{"EDGECTL_ADDRESS": good.Address[0]}, []string{"job", "ls"}, exitDone, ""},
		{"flag is stronger than the environment", good, map[string]string{"EDGECTL_TOKEN": "bad"}, []string{"job", "ls", "--token", apitest.Token}, exitDone, ""},
		{"authority", strange, nil, []string{"job", "ls"}, exitUnreachable, "authority"},
		{"wrong token", good, map[string]string{"EDGECTL_TOKEN": "bad"}, []string{"job", "ls"}, exitNotAllowed, "edgectl login"},
		{"wrong role", good, map[string]string{"EDGECTL_TOKEN": apitest.Viewer}, []string{"job", "ls"}, exitNotAllowed, "viewer"},
		{"unknown flag", good, nil, []string{"job", "ls", "--nope"}, exitBadInput, "--help"},
		{"unknown command", good, nil, []string{"nope"}, exitBadInput, "nope"},
		{"unknown subcommand", good, nil, []string{"job", "nope"}, exitBadInput, "nope"},
		{"bad output", good, nil, []string{"job", "ls", "-o", "xml"}, exitBadInput, "table or json"},
		{"bad state", good, nil, []string{"job", "ls", "--state", "fine"}, exitBadInput, "FINE"},
		{"bad since", good, nil, []string{"job", "logs", "x", "--since", "then"}, exitBadInput, "10m"},
		{"plain http", good, nil, []string{"job", "ls", "--address", "http://127.0.0.1:1"}, exitBadInput, "https"},
		{"no configuration", good, nil, []string{"job", "ls", "--config", "/nonexistent/x"}, exitBadInput, "/nonexistent/x"},
		{"validate", good, nil, []string{"validate", os.DevNull}, exitBadInput, "empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := edgectl(t, tt.conf, tt.env, tt.args...)
			if code != tt.code || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, want %d; stderr, want %q:\n%s", code, tt.code, tt.want, stderr)
			}
			if code == exitDone && stderr != "" {
				t.Errorf("done, but stderr: %s", stderr)
			}
			if strings.Contains(stdout+stderr, apitest.Token) {
				t.Error("the token was shown")
			}
		})
	}
}

func TestExecExitCode(t *testing.T) {
	conf := serve(t)
	file := filepath.Join(t.TempDir(), "hello.yaml")
	if err := os.WriteFile(file, []byte("api_version: v0.1\njob_name: hello\nimage: /x\nimage_runtime: native\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := edgectl(t, conf, nil, "deploy", file); code != 0 {
		t.Fatal(stderr)
	}
	if code, _, stderr := edgectl(t, conf, nil, "job", "exec", "hello", "--", "exit7"); code != 7 || stderr != "" {
		t.Errorf("exit code %d, want 7; stderr %q", code, stderr)
	}
}

func TestExitCodeOfClasses(t *testing.T) {
	for err, want := range map[error]int{
		api.ErrInvalid: 2, api.ErrTooLarge: 2, api.ErrNotFound: 3, api.ErrUnavailable: 4,
		api.ErrUnauthenticated: 5, api.ErrDenied: 5, api.ErrConflict: 1, api.ErrExhausted: 1,
		api.ErrUnsupported: 1, api.ErrInternal: 1, context.Canceled: 1, errors.New("x"): 1,
	} {
		if got := exitCode(fmt.Errorf("wrapped: %w", err)); got != want {
			t.Errorf("%v: exit code %d, want %d", err, got, want)
		}
	}
}

func TestArrange(t *testing.T) {
	for line, want := range map[string]string{
		"job show X -o json":                   "job show -o json -- X",
		"job show -o=json X":                   "job show -o=json -- X",
		"deploy f --wait":                      "deploy --wait=RUNNING -- f",
		"deploy --wait f":                      "deploy --wait=RUNNING -- f",
		"deploy --wait=FAILED f --timeout 3s":  "deploy --wait=FAILED --timeout 3s -- f",
		"deploy -":                             "deploy -- -",
		"job terminate X --wait":               "job terminate --wait -- X",
		"job ls --address a:1 --state RUNNING": "--address a:1 job ls --state RUNNING",
		"--address a:1 job ls":                 "--address a:1 job ls",
		"job exec -it X -- sh -c ls":           "job exec -it -- X sh -c ls",
		"job exec X -i -- cat -- -n":           "job exec -i -- X cat -- -n",
		"job show job":                         "job show -- job",
		"job logs X -f --nope":                 "job logs -f --nope -- X",
		"job logs X --tail":                    "job logs --tail -- X",
		"nope job":                             "-- nope job",
		"--help":                               "--help",
		"":                                     "",
		"--":                                   "",
		"token create --join node --cluster c --": "token create --join node --cluster c",
	} {
		got := strings.Join(arrange((&program{}).app(), append([]string{"edgectl"}, strings.Fields(line)...)), " ")
		if d := cmp.Diff(strings.TrimSpace("edgectl "+want), got); d != "" {
			t.Errorf("%q (-want +got):\n%s", line, d)
		}
	}
}

func TestPeople(t *testing.T) {
	p := &program{now: func() time.Time { return apitest.Epoch }}
	for _, tt := range []struct{ got, want string }{
		{p.ago(time.Time{}), "never"},
		{p.ago(apitest.Epoch.Add(-3 * time.Second)), "3s ago"},
		{p.ago(apitest.Epoch.Add(-119 * time.Minute)), "119m ago"},
		{p.ago(apitest.Epoch.Add(-72 * time.Hour)), "3d ago"},
		{p.ago(apitest.Epoch.Add(time.Second)), "now"},
		{p.ago(apitest.Epoch.Add(time.Hour)), "in 60m"},
		{amount(0), "0 B"}, {amount(999), "999 B"}, {amount(1500), "1.5 kB"}, {amount(2_000_000_000), "2 GB"}, {amount(-5), "-5 B"},
		{cores(0), "0"}, {cores(2000), "2"}, {cores(250), "0.25"}, {cores(10_000), "10"},
		{clean("a\x1b[2Jb\nc"), "a [2Jb c"},
		{bar(api.Progress{Phase: "pull", Current: 5, Total: 10}), "pull  [===============               ] 5 B of 10 B"},
		{bar(api.Progress{Phase: "pull", Current: 50, Total: 10}), "pull  [==============================] 50 B of 10 B"},
		{bar(api.Progress{Phase: "pull", Current: 5}), "pull  5 B"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
