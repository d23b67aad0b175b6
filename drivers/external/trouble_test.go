package external

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
)

// node is a fake driver program with its host.
type node struct {
	*Driver
	host *fake.Host
}

// newNode returns one whose program is ready. Workloads tick.
func newNode(t *testing.T, hang time.Duration) *node {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if !t.Failed() {
			goleak.VerifyNone(t, before)
		}
	})
	hs := &hosts{script: func(drivers.Spec) fake.Script {
		s := fake.Script{Forever: true}
		for i := range 500 {
			s.Steps = append(s.Steps, fake.Step{After: 10 * time.Millisecond, Text: "tick " + strconv.Itoa(i+1) + "\n"})
		}
		return s
	}}
	dir := t.TempDir()
	d := hs.open(t, dir)
	if hang > 0 {
		// Begin again with a time that a test can wait for.
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		cfg := d.cfg
		cfg.hang = hang
		d = newDriver(t, cfg)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &node{d, hs.byDir[dir]}
	n.usable(t)
	return n
}

// usable waits until the program works (again).
func (n *node) usable(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		info := n.Probe(ctx)
		if info.Usable {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("never usable: %+v", info)
		}
		if err := n.await(ctx, true); err != nil {
			t.Fatal(err)
		}
	}
}

func (n *node) running(t *testing.T, id string) drivers.Handle {
	t.Helper()
	h, err := n.Create(t.Context(), drivers.Spec{ID: id, Generation: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestKilledMidCall kills the program under each kind of call.
func TestKilledMidCall(t *testing.T) {
	n := newNode(t, 0)
	h := n.running(t, "a")
	// The fake stays in each call long enough to be killed there.
	for _, op := range []fake.Op{fake.OpStart, fake.OpStop, fake.OpStatus, fake.OpList, fake.OpStats, fake.OpRemove, fake.OpCreate} {
		n.host.Inject(op, fake.Fault{Delay: time.Minute})
	}
	calls := map[string]func(context.Context) error{
		"create": func(ctx context.Context) error {
			_, err := n.Create(ctx, drivers.Spec{ID: "b", Generation: 1}, nil)
			return err
		},
		"start":  func(ctx context.Context) error { return n.Start(ctx, h) },
		"stop":   func(ctx context.Context) error { return n.Stop(ctx, h, drivers.StopOptions{}) },
		"remove": func(ctx context.Context) error { return n.Remove(ctx, h) },
		"status": func(ctx context.Context) error { _, err := n.Status(ctx, h); return err },
		"list":   func(ctx context.Context) error { _, err := n.List(ctx); return err },
		"stats":  func(ctx context.Context) error { _, err := n.Stats(ctx, h); return err },
	}
	var wg sync.WaitGroup
	for name, call := range calls {
		wg.Go(func() {
			if err := call(t.Context()); !errors.Is(err, drivers.ErrUnavailable) {
				t.Errorf("%s while the program was killed: %v, want ErrUnavailable", name, err)
			}
		})
	}
	time.Sleep(200 * time.Millisecond) // nothing tells that a call has arrived; one that has not fails as well
	n.kill(t, syscall.SIGKILL)
	wg.Wait()
	for _, op := range []fake.Op{fake.OpStart, fake.OpStop, fake.OpStatus, fake.OpList, fake.OpStats, fake.OpRemove, fake.OpCreate} {
		n.host.Clear(op)
	}
	n.usable(t)
	if st, err := n.Status(t.Context(), h); err != nil || st.Phase != drivers.PhaseRunning {
		t.Errorf("after the program was killed: %+v, %v; want it running still", st, err)
	}
}

// TestWaitResumes kills the program twice under a Wait.
func TestWaitResumes(t *testing.T) {
	n := newNode(t, 0)
	h := n.running(t, "a")
	type ending struct {
		exit drivers.Exit
		err  error
	}
	done := make(chan ending, 1)
	go func() {
		exit, err := n.Wait(t.Context(), h)
		done <- ending{exit, err}
	}()
	for range 2 {
		time.Sleep(100 * time.Millisecond) // into the call
		n.kill(t, syscall.SIGKILL)
		n.usable(t)
	}
	select {
	case e := <-done:
		t.Fatalf("Wait ended falsely: %+v", e)
	default:
	}
	n.kill(t, syscall.SIGKILL)
	n.host.End("a", 1, drivers.Exit{Code: 42}) // while nobody is there
	select {
	case e := <-done:
		if e.err != nil || e.exit.Code != 42 {
			t.Errorf("Wait: %+v, want code 42", e)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Wait never ended")
	}
}

// TestLogsResume kills the program again and again under a followed log.
func TestLogsResume(t *testing.T) {
	n := newNode(t, 0)
	h := n.running(t, "a")
	var out bytes.Buffer
	enough := errors.New("enough")
	killed := 0
	err := n.Logs(t.Context(), h, drivers.LogOptions{Follow: true, Tail: -1}, func(e drivers.LogEntry) error {
		out.Write(e.Data)
		lines := bytes.Count(out.Bytes(), []byte("\n"))
		if lines > 50*(killed+1) && killed < 3 {
			killed++
			n.kill(t, syscall.SIGKILL)
		}
		if lines == 500 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || killed < 3 {
		t.Errorf("Logs: %v, %d kills", err, killed)
	}
	var want strings.Builder
	for i := range 500 {
		want.WriteString("tick " + strconv.Itoa(i+1) + "\n")
	}
	if out.String() != want.String() {
		t.Errorf("lines are lost or doubled:\n%s", out.String())
	}
}

func TestLogsResumeUntilRemoved(t *testing.T) {
	n := newNode(t, 0)
	h := n.running(t, "a")
	first := make(chan struct{})
	var once sync.Once
	done := make(chan error, 1)
	go func() {
		done <- n.Logs(t.Context(), h, drivers.LogOptions{Follow: true, Tail: -1}, func(drivers.LogEntry) error {
			once.Do(func() { close(first) })
			return nil
		})
	}()
	<-first
	d := fake.New(n.host)
	n.kill(t, syscall.SIGKILL)
	if err := errors.Join(d.Stop(t.Context(), h, drivers.StopOptions{}), d.Remove(t.Context(), h)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Logs of what was removed meanwhile: %v, want nil", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Logs never ended")
	}
}

// TestHang stops the program in its tracks: calls end with their contexts, and
// the program is replaced.
func TestHang(t *testing.T) {
	other := newNode(t, 0)
	n := newNode(t, time.Second)
	h := n.running(t, "a")
	was := n.pid.Load()
	waited := make(chan error, 1)
	go func() {
		_, err := n.Wait(t.Context(), h)
		waited <- err
	}()
	n.freeze(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := n.Status(ctx, h); !errors.Is(err, drivers.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Status of a program that hangs: %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("Status took %v beyond a deadline of 300ms", took)
	}
	if info := n.Probe(ctx); info.Usable || info.Reason == "" || info.Remedy == "" {
		t.Errorf("Probe of a program that hangs: %+v", info)
	}
	if info := other.Probe(t.Context()); !info.Usable {
		t.Errorf("another driver: %+v", info)
	}
	// No call is made from here on: that the one above failed is enough.
	for p, _, changed := n.state(); p == ready && n.pid.Load() == was; p, _, changed = n.state() {
		select {
		case <-changed:
		case <-time.After(30 * time.Second):
			t.Fatal("the program was not replaced")
		}
	}
	n.usable(t)
	n.host.End("a", 1, drivers.Exit{})
	if err := <-waited; err != nil {
		t.Errorf("Wait over a hang: %v", err)
	}
}

// TestCloseHung closes a driver whose program does not listen any more.
func TestCloseHung(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a timeout")
	}
	n := newNode(t, 0)
	h := n.running(t, "a")
	n.freeze(t)
	done := make(chan error, 1)
	go func() { _, err := n.Wait(t.Context(), h); done <- err }()
	begin := time.Now()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > stopTimeout+10*time.Second {
		t.Errorf("Close took %v", took)
	}
	if err := <-done; !errors.Is(err, drivers.ErrUnavailable) {
		t.Errorf("Wait after Close: %v, want ErrUnavailable", err)
	}
	if _, err := os.Stat(n.socketDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's folder is left: %v", err)
	}
}

// TestAgentGone plays an agent that was killed: standard input ends.
func TestAgentGone(t *testing.T) {
	n := newNode(t, 0)
	said := &relay{log: logger(t)}
	cmd, input, err := n.command(said)
	if err != nil {
		t.Fatal(err)
	}
	if err := input.Close(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case err := <-exited:
		// It may find its socket in use by the other one; all that counts is that it ends.
		t.Logf("ended: %v", err)
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-exited
		t.Error("the program goes on without its agent")
	}
}

// TestWatch sees the runtime go and come, and the program.
func TestWatch(t *testing.T) {
	n := newNode(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() { done <- n.Watch(ctx, func() { changes <- struct{}{} }) }()
	until := func(usable bool) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for n.Probe(ctx).Usable != usable {
			select {
			case <-changes:
			case <-deadline:
				t.Fatalf("never told that usable is %v", usable)
			}
		}
	}
	time.Sleep(100 * time.Millisecond) // into the program's Watch
	n.host.Down("gone", "bring it back")
	until(false)
	n.host.Up()
	until(true)
	n.kill(t, syscall.SIGKILL)
	<-changes // whether it was seen to be away depends on when it was looked at
	n.usable(t)
	n.host.Down("gone", "bring it back")
	until(false)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}

func TestUnsupported(t *testing.T) {
	n := newNode(t, 0)
	h := n.running(t, "a")
	c := &client{suspect: func() {}, dial: n.dialNow}
	if _, err := c.do(t.Context(), request{Call: "dance", Handle: &h}, handling{}); !errors.Is(err, drivers.ErrUnsupported) {
		t.Errorf("a call that there is not: %v, want ErrUnsupported", err)
	}
	if _, err := c.do(t.Context(), request{Call: callStart}, handling{}); !errors.Is(err, drivers.ErrInvalid) {
		t.Errorf("a call without a handle: %v, want ErrInvalid", err)
	}
	if _, err := c.do(t.Context(), request{Call: callHello, Protocol: 99}, handling{}); !errors.Is(err, drivers.ErrUnsupported) {
		t.Errorf("an agent of another version: %v, want ErrUnsupported", err)
	}
	h.Data = []byte("{")
	if err := n.Start(t.Context(), h); !errors.Is(err, drivers.ErrInvalid) {
		t.Errorf("a handle that is not JSON: %v, want ErrInvalid", err)
	}
	// The fake program is no Execer behind its proxy: the client is, and its
	// own server says no.
	if _, err := n.Exec(t.Context(), drivers.Handle{}, drivers.ExecOptions{Stdin: io.LimitReader(nil, 0)}); !errors.Is(err, drivers.ErrUnsupported) {
		t.Errorf("Exec: %v, want ErrUnsupported", err)
	}
}
