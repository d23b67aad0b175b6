package native

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// An agent was killed while it started an edgeshim, which has not written down
// yet that it runs. The next agent keeps its hands off until it has.
func TestShimThatIsJustStarting(t *testing.T) {
	d := newDriver(t, Config{Dir: t.TempDir()})
	h, err := d.Create(t.Context(), drivers.Spec{ID: "a", Generation: 1, Command: []string{"sleep", "1000"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.open("test", h)
	if err != nil {
		t.Fatal(err)
	}
	starting, err := w.tryLock()
	if err != nil || starting == nil {
		t.Fatalf("lock: %v, %v", starting, err)
	}
	if second, err := w.tryLock(); second != nil || err != nil {
		t.Fatalf("a second lock: %v, %v", second, err)
	}
	for op, f := range map[string]func(context.Context) error{
		"start":  func(ctx context.Context) error { return d.Start(ctx, h) },
		"stop":   func(ctx context.Context) error { return d.Stop(ctx, h, drivers.StopOptions{}) },
		"remove": func(ctx context.Context) error { return d.Remove(ctx, h) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := f(ctx); !errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", op, err)
		}
		cancel()
		if l, err := w.launch(); err != nil || l.Cgroup.Exists() {
			t.Errorf("%s touched the workload: %v", op, err)
		}
	}
	// It has run, to its end, since: that was the start that was asked for.
	looked, first := make(chan struct{}), sync.Once{}
	look := func() (state, error) {
		st, err := w.settle()
		first.Do(func() { close(looked) })
		return st, err
	}
	type claim struct {
		lock *os.File
		err  error
	}
	claimed := make(chan claim, 1)
	go func() {
		lock, _, err := w.claim(t.Context(), look)
		claimed <- claim{lock, err}
	}()
	<-looked
	run := shim.Run{Number: 1, BootID: d.boot, StartedAt: time.Now()}
	end := shim.Exit{Number: 1, Code: 7, At: time.Now()}
	if err := errors.Join(shim.WriteFile(w.dir, shim.FileExit, end.Append(nil), false), shim.WriteFile(w.dir, shim.FileRun, run.Append(nil), false)); err != nil {
		t.Fatal(err)
	}
	starting.Close()
	if c := <-claimed; c.lock != nil || c.err != nil {
		t.Errorf("claimed %v, %v", c.lock, c.err)
	}
	if exit, err := d.Wait(t.Context(), h); err != nil || exit.Code != 7 {
		t.Errorf("it was started again: %+v, %v", exit, err)
	}
	if err := d.Remove(t.Context(), h); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(w.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is not removed: %v", err)
	}
}
