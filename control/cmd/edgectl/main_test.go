package main

import (
	"context"
	"encoding/pem"
	"flag"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/edgeio/edgeio/control/api/apitest"
	"github.com/edgeio/edgeio/control/api/server"
)

var update = flag.Bool("update", false, "write what the scripts compare with anew")

// TestMain lets the test binary be edgectl, for the scripts. Its clock stands
// still, so that "3s ago" is the same each time.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"edgectl": func() {
			now, err := time.Parse(time.RFC3339, os.Getenv("NOW"))
			if err != nil {
				now = time.Now()
			}
			p := &program{
				stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv,
				now: func() time.Time { return now },
			}
			os.Exit(p.run(context.Background(), os.Args))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			f := apitest.New()
			srv := httptest.NewUnstartedServer(server.Handler(f.Backend(), server.Options{
				Version: "test", Tier: "root", Name: "r", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			}))
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.StartTLS()
			env.Defer(srv.Close)
			authority := filepath.Join(env.WorkDir, "authority.pem")
			b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
			if err := os.WriteFile(authority, b, 0o600); err != nil {
				return err
			}
			conf := config{Address: addresses{srv.Listener.Addr().String()}, Authority: string(b), Token: apitest.Token}
			path := filepath.Join(env.WorkDir, "edgectl.yaml")
			env.Setenv("EDGECTL_CONFIG", path)
			env.Setenv("ADDRESS", srv.Listener.Addr().String())
			env.Setenv("TOKEN", apitest.Token)
			env.Setenv("VIEWER", apitest.Viewer)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command takes a second under the race detector
			env.Setenv("PIN", pinOf(srv.Certificate()))
			env.Setenv("NOW", apitest.Epoch.Add(90*time.Second).Format(time.RFC3339))
			env.Setenv("TZ", "UTC")
			return writeConfig(path, conf)
		},
	})
}
