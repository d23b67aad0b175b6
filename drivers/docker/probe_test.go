package docker_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers/docker"
)

// shortDir returns a folder whose path leaves room for a socket's name (107 bytes).
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "edk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestProbeSaysWhatIsWrong(t *testing.T) {
	old := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.30") }
	broken := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "on fire", http.StatusInternalServerError) }
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	cases := []struct {
		name   string
		serve  http.HandlerFunc
		reason string
	}{
		{"absent", nil, "not running"},
		{"too old", old, "too old"},
		{"broken", broken, "on fire"},
		{"hung", hang, "does not answer within 300ms"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			socket := filepath.Join(shortDir(t), "s")
			if c.serve != nil {
				serve(t, socket, c.serve)
			}
			d := newDriver(t, docker.Config{Host: "unix://" + socket, ProbeTimeout: 300 * time.Millisecond})
			begin := time.Now()
			info := d.Probe(t.Context())
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if c.name == "absent" && strings.Contains(info.Reason, "not installed") {
				return // true on a machine without Docker
			}
			if info.Usable || !strings.Contains(info.Reason, c.reason) || info.Remedy == "" {
				t.Errorf("%+v; want a reason with %q, and a remedy", info, c.reason)
			}
		})
	}
}

func serve(t testing.TB, socket string, h http.HandlerFunc) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
}

func TestProbe(t *testing.T) {
	daemon(t)
	info := newDriver(t, docker.Config{}).Probe(t.Context())
	if !info.Usable || info.Version == "" || info.Endpoint == "" {
		t.Errorf("%+v", info)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if info := newDriver(t, docker.Config{}).Probe(ctx); info.Usable {
		t.Errorf("usable although nobody waited for the answer: %+v", info)
	}
}
