package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/api/apitest"
	"github.com/edgeio/edgeio/control/api/server"
	"github.com/edgeio/edgeio/proto/job"
)

// served is a fake behind Serve, with TLS, and a client of it. stop ends it
// and waits.
func served(t *testing.T, f *apitest.Fake, log *slog.Logger) (cl *api.Client, stop func() error) {
	t.Helper()
	// httptest is here for its certificate only.
	tlsOnly := httptest.NewUnstartedServer(nil)
	tlsOnly.StartTLS()
	conf := &tls.Config{Certificates: tlsOnly.TLS.Certificates}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tlsOnly.Certificate().Raw})
	tlsOnly.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- server.Serve(ctx, l, conf, server.Handler(f.Backend(), server.Options{Log: log}), log)
	}()
	cl, err = api.New(api.Config{Addresses: []string{l.Addr().String()}, AuthorityPEM: authority, Token: apitest.Token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	var once sync.Once
	var result error
	stop = func() error {
		once.Do(func() { cancel(); result = <-done })
		return result
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return cl, stop
}

func deploy(t *testing.T, cl *api.Client) api.Job {
	t.Helper()
	j, err := cl.Deploy(t.Context(), []byte(hello), "")
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestFollowEvents(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	f := apitest.New()
	cl, stop := served(t, f, quiet())
	j := deploy(t, cl)
	stopIt := errors.New("enough")
	var got []job.State
	err := cl.Events(t.Context(), api.EventQuery{Job: j.ID, Follow: true}, func(ev api.Event) error {
		got = append(got, ev.State)
		if ev.State == job.Running { // seen live: only after all that was stored
			if _, err := cl.Terminate(t.Context(), j.ID); err != nil {
				return err
			}
		}
		if ev.State == job.Terminated {
			return stopIt
		}
		return nil
	})
	if err != stopIt || len(got) != 5 {
		t.Errorf("events %v, %v", got, err)
	}
	cl.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestCancelledStreams(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cl, stop := served(t, apitest.New(), quiet())
	j := deploy(t, cl)
	for name, stream := range map[string]func(ctx context.Context, seen func()) error{
		"events": func(ctx context.Context, seen func()) error {
			return cl.Events(ctx, api.EventQuery{Follow: true}, func(api.Event) error { seen(); return nil })
		},
		"logs": func(ctx context.Context, seen func()) error {
			return cl.Logs(ctx, j.ID, api.LogQuery{Follow: true, Tail: -1}, func(api.LogEntry) error { seen(); return nil })
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if err := stream(ctx, cancel); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	cl.Close()
	if err := stop(); err != nil { // waits for the handlers
		t.Error(err)
	}
}

// TestStop ends the server under streams that have no end.
func TestStop(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cl, stop := served(t, apitest.New(), quiet())
	j := deploy(t, cl)
	var wg sync.WaitGroup
	logs, exec := make(chan struct{}), make(chan struct{})
	var logErr, execErr error
	wg.Go(func() {
		var once sync.Once
		logErr = cl.Logs(t.Context(), j.ID, api.LogQuery{Follow: true, Tail: 1}, func(api.LogEntry) error { once.Do(func() { close(logs) }); return nil })
	})
	wg.Go(func() {
		_, execErr = cl.Exec(t.Context(), j.ID, api.ExecRequest{
			ExecStart: api.ExecStart{Command: []string{"hang"}}, Stdout: signalWriter{exec}, Stderr: io.Discard,
		})
	})
	<-logs
	<-exec
	begin := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > 4*time.Second {
		t.Errorf("took %s: it waited for the streams", d)
	}
	wg.Wait()
	if logErr != nil {
		t.Errorf("logs: %v", logErr)
	}
	if !errors.Is(execErr, api.ErrUnavailable) {
		t.Errorf("exec: %v", execErr)
	}
	cl.Close()
}

// signalWriter closes a channel at the first write.
type signalWriter struct{ c chan struct{} }

func (w signalWriter) Write(b []byte) (int, error) { close(w.c); return len(b), nil }

func TestExec(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cl, stop := served(t, apitest.New(), quiet())
	j := deploy(t, cl)
	big := strings.Repeat("0123456789", 50_000)
	for _, tt := range []struct {
		name  string
		start api.ExecStart
		stdin string
		code  int
		out   string
		err   error
	}{
		{"code", api.ExecStart{Command: []string{"exit7"}}, "", 7, "", nil},
		{"output", api.ExecStart{Command: []string{"echo", "a b"}, TTY: true}, "", 0, "a b\ntty true\n", nil},
		{"environment", api.ExecStart{Command: []string{"env"}, Env: map[string]string{"A": "1"}}, "", 0, "{\"A\":\"1\"}\n", nil},
		{"both ways", api.ExecStart{Command: []string{"cat"}}, big, 0, big, nil},
		{"input is not read", api.ExecStart{Command: []string{"exit7"}}, big, 7, "", nil},
		{"input is not read to its end", api.ExecStart{Command: []string{"line"}}, "x\n" + big, 0, "x\n", nil},
		{"unknown", api.ExecStart{Command: []string{"nope"}}, "", 0, "", api.ErrInvalid},
		{"no command", api.ExecStart{}, "", 0, "", api.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			code, err := cl.Exec(t.Context(), j.Name, api.ExecRequest{ExecStart: tt.start, Stdin: strings.NewReader(tt.stdin), Stdout: &out, Stderr: &out})
			if code != tt.code || !errors.Is(err, tt.err) || out.String() != tt.out {
				t.Errorf("code %d, error %v, %d bytes of output", code, err, out.Len())
			}
		})
	}
	t.Run("resize", func(t *testing.T) {
		sizes := make(chan api.TermSize, 1)
		sizes <- api.TermSize{Columns: 100, Rows: 50}
		var out bytes.Buffer
		start := api.ExecStart{Command: []string{"size"}, TTY: true, Size: api.TermSize{Columns: 80, Rows: 25}}
		if _, err := cl.Exec(t.Context(), j.ID, api.ExecRequest{ExecStart: start, Resize: sizes, Stdout: &out, Stderr: &out}); err != nil || out.String() != "80 25\n100 50\n" {
			t.Errorf("%q, %v", out.String(), err)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := make(chan struct{})
		go func() { <-began; cancel() }()
		_, err := cl.Exec(ctx, j.ID, api.ExecRequest{ExecStart: api.ExecStart{Command: []string{"hang"}}, Stdout: signalWriter{began}, Stderr: io.Discard})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("no job", func(t *testing.T) {
		if _, err := cl.Exec(t.Context(), "nope", api.ExecRequest{ExecStart: api.ExecStart{Command: []string{"x"}}}); !errors.Is(err, api.ErrNotFound) {
			t.Error(err)
		}
	})
	cl.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestTokensStayOutOfLogs looks at all that is logged at the lowest level.
func TestTokensStayOutOfLogs(t *testing.T) {
	var mu sync.Mutex
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logged.Write(b)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	cl, stop := served(t, apitest.New(), log)
	deploy(t, cl)
	tok, err := cl.CreateAPIToken(t.Context(), api.NewAPIToken{Name: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	cl.Close()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if s := logged.String(); !strings.Contains(s, "/api/v1/tokens") || strings.Contains(s, apitest.Token) || strings.Contains(s, tok.Token) {
		t.Errorf("no request, or a secret, in the log:\n%s", s)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
