package external

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/edgeio/edgeio/drivers"
)

// TestBadPrograms is what Probe says of programs that are no good.
func TestBadPrograms(t *testing.T) {
	cases := map[string]string{
		"future": "version 2",
		"rude":   "not the driver protocol",
		"vain":   "exit status 3; its last words: there is no such thing here",
		"none":   "no such file",
	}
	for role, want := range cases {
		t.Run(role, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, before) })
			d := newDriver(t, Config{Path: filepath.Join(programs, Prefix+role), Dir: t.TempDir()})
			defer d.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			info := d.Probe(ctx)
			if info.Usable || info.Name != role || !strings.Contains(info.Reason, want) || strings.Contains(info.Reason, "\n") || info.Remedy == "" {
				t.Errorf("Probe: %+v, want a reason with %q", info, want)
			}
			if _, err := d.Create(ctx, drivers.Spec{ID: "a"}, nil); !errors.Is(err, drivers.ErrUnavailable) {
				t.Errorf("Create: %v, want ErrUnavailable", err)
			}
		})
	}
}

// TestMuteProgram is one that never listens: nothing waits beyond its context.
func TestMuteProgram(t *testing.T) {
	d := newDriver(t, Config{Path: filepath.Join(programs, Prefix+"mute"), Dir: t.TempDir()})
	defer d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if info := d.Probe(ctx); info.Usable || info.Reason == "" {
		t.Errorf("Probe: %+v", info)
	}
	if err := d.Start(ctx, drivers.Handle{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Start: %v", err)
	}
}

func TestRestartDelay(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: restartBase, 1: restartBase, 2: 2 * restartBase, 5: 16 * restartBase, 9: restartCap, 1000: restartCap} {
		if got := restartDelay(failures, 1); got != want {
			t.Errorf("bound after %d failures: %v, want %v", failures, got, want)
		}
		if got := restartDelay(failures, 0); got != 0 {
			t.Errorf("least after %d failures: %v", failures, got)
		}
	}
}

func TestRelay(t *testing.T) {
	var buf bytes.Buffer
	r := &relay{log: slog.New(slog.NewTextHandler(&buf, nil))}
	fmt.Fprint(r, "one\ntw")
	fmt.Fprint(r, "o\n\n"+strings.Repeat("x", 2*maxLine+1)+"\nend")
	if got := strings.Count(buf.String(), "line="); got != 5 {
		t.Errorf("%d lines, want one, two and three pieces:\n%s", got, buf.String())
	}
	if got := r.last(); got != "end" {
		t.Errorf("last words %q", got)
	}
}

func TestFind(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	put := func(dir, name string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	put(a, "edgedriver-lxc", 0o755)
	put(b, "edgedriver-lxc", 0o755)
	put(b, "edgedriver-other", 0o750)
	put(b, "edgedriver-text", 0o644)
	put(b, "edgedriver-other.bak", 0o755)
	put(b, "edgedriver-", 0o755)
	put(b, "driver", 0o755)
	put(b, "edgedriver-open", 0o777)
	if err := os.Mkdir(filepath.Join(b, "edgedriver-folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	found, err := Find(a, filepath.Join(a, "missing"), b)
	want := map[string]string{"lxc": filepath.Join(a, "edgedriver-lxc"), "other": filepath.Join(b, "edgedriver-other")}
	if d := cmp.Diff(want, found); d != "" {
		t.Error(d)
	}
	if err == nil || !strings.Contains(err.Error(), "edgedriver-open") {
		t.Errorf("a program that everybody may change: %v", err)
	}
}
