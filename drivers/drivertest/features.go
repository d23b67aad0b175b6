package drivertest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

func shell(script string) []string { return []string{"/bin/sh", "-c", script} }

func testExec(s *suite) {
	s.need(drivers.FeatureExec)
	h := s.ready(s.spec(Workload{Kind: Wait, Env: map[string]string{"OF_WORKLOAD": "w"}}))
	e := s.d.(drivers.Execer)
	var stdout, stderr bytes.Buffer
	code, err := e.Exec(s.ctx, h, drivers.ExecOptions{
		Command: shell(`echo "$OF_WORKLOAD $OF_EXEC"; echo oops >&2; exit 42`),
		Env:     map[string]string{"OF_EXEC": "e\n'\""},
		Stdout:  &stdout, Stderr: &stderr,
	})
	if err != nil || code != 42 || stdout.String() != "w e\n'\"\n" || stderr.String() != "oops\n" {
		s.Errorf("Exec: code %d, %v, stdout %q, stderr %q", code, err, stdout.String(), stderr.String())
	}
	if code, err := e.Exec(s.ctx, h, drivers.ExecOptions{Command: shell("echo to nobody; kill -KILL $$")}); err != nil || code != 137 {
		s.Errorf("Exec that is killed: code %d, %v; want 137", code, err)
	}
	if _, err := e.Exec(s.ctx, h, drivers.ExecOptions{}); !errors.Is(err, drivers.ErrInvalid) {
		s.Errorf("Exec without a command: %v, want ErrInvalid", err)
	}
	if got := s.stdout(h); got != "ready\n" {
		s.Errorf("Exec wrote to the workload's log: %q", got)
	}
	s.stop(h, drivers.StopOptions{})
	if _, err := e.Exec(s.ctx, h, drivers.ExecOptions{Command: shell("true")}); !errors.Is(err, drivers.ErrConflict) {
		s.Errorf("Exec in an ended workload: %v, want ErrConflict", err)
	}
}

func testExecStdin(s *suite) {
	s.need(drivers.FeatureExec)
	h := s.ready(s.spec(Workload{Kind: Wait}))
	in := strings.Repeat("0123456789abcdef\n", 20000)
	var out bytes.Buffer
	code, err := s.d.(drivers.Execer).Exec(s.ctx, h, drivers.ExecOptions{
		Command: []string{"cat"}, Stdin: strings.NewReader(in), Stdout: &out,
	})
	if err != nil || code != 0 || out.String() != in {
		s.Errorf("cat: code %d, %v, %d bytes of %d", code, err, out.Len(), len(in))
	}
	// A command that does not read its input must not hang on it.
	code, err = s.d.(drivers.Execer).Exec(s.ctx, h, drivers.ExecOptions{Command: shell("exit 9"), Stdin: strings.NewReader(in)})
	if err != nil || code != 9 {
		s.Errorf("command that ignores its input: code %d, %v; want 9", code, err)
	}
}

// started is a writer that tells when something has been written.
type started struct{ ch chan struct{} }

func (w started) Write(p []byte) (int, error) {
	select {
	case w.ch <- struct{}{}:
	default:
	}
	return len(p), nil
}

func testExecCancelled(s *suite) {
	s.need(drivers.FeatureExec)
	h := s.ready(s.spec(Workload{Kind: Wait}))
	marker := s.marker()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	w := started{make(chan struct{}, 1)}
	done := make(chan error, 1)
	d := s.d.(drivers.Execer)
	go func() {
		_, err := d.Exec(ctx, h, drivers.ExecOptions{
			Command: []string{"/bin/sh", "-c", "echo up; sh -c 'while :; do sleep 1000; done' \"$0\"", marker}, Stdout: w,
		})
		done <- err
	}()
	select {
	case <-w.ch:
	case <-time.After(patience):
		s.Fatal("the command never began")
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			s.Errorf("Exec, cancelled: %v, want context.Canceled", err)
		}
	case <-time.After(patience):
		s.Fatal("Exec went on after its context ended")
	}
	s.eventually("the command of a cancelled Exec ends", func() bool { return len(marked(marker)) == 0 })
	s.phase(h, drivers.PhaseRunning)
}

// eventually polls for what happens outside of any call of the driver.
func (s *suite) eventually(what string, ok func() bool) {
	s.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			s.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func testExecTTY(s *suite) {
	s.need(drivers.FeatureTTY)
	h := s.ready(s.spec(Workload{Kind: Wait}))
	sizes := make(chan drivers.TermSize, 1)
	sizes <- drivers.TermSize{Columns: 100, Rows: 30}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	first := started{make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-first.ch:
			sizes <- drivers.TermSize{Columns: 120, Rows: 40}
		case <-ctx.Done():
		}
	}()
	var out bytes.Buffer
	script := `test -t 0 && test -t 1 && test -t 2 || exit 1
		until [ "$(stty size 2>/dev/null)" = "30 100" ]; do sleep 0.02; done; echo one
		until [ "$(stty size 2>/dev/null)" = "40 120" ]; do sleep 0.02; done; echo two; exit 6`
	code, err := s.d.(drivers.Execer).Exec(ctx, h, drivers.ExecOptions{
		Command: shell(script), TTY: true, Size: sizes, Stdout: tee{&out, first},
	})
	if err != nil || code != 6 || out.String() != "one\r\ntwo\r\n" {
		s.Errorf("Exec with a terminal: code %d, %v, output %q", code, err, out.String())
	}
	cancel()
	<-done

	out.Reset()
	code, err = s.d.(drivers.Execer).Exec(s.ctx, h, drivers.ExecOptions{
		Command: shell(`read line; echo "got $line"`), TTY: true, Stdin: strings.NewReader("hello\n"), Stdout: &out,
	})
	if err != nil || code != 0 || !strings.Contains(out.String(), "got hello\r\n") {
		s.Errorf("Exec with a terminal and input: code %d, %v, output %q", code, err, out.String())
	}
}

// tee writes to a buffer, then to a started.
type tee struct {
	buf  *bytes.Buffer
	next started
}

func (t tee) Write(p []byte) (int, error) {
	t.buf.Write(p)
	return t.next.Write(p)
}

func (s *suite) stats(h drivers.Handle) drivers.Stats {
	s.Helper()
	st, err := s.d.(drivers.StatsReader).Stats(s.ctx, h)
	if err != nil {
		s.Fatalf("Stats: %v", err)
	}
	return st
}

func testStats(s *suite) {
	s.need(drivers.FeatureStats)
	h := s.create(s.spec(Workload{Kind: Spin}))
	if _, err := s.d.(drivers.StatsReader).Stats(s.ctx, h); !errors.Is(err, drivers.ErrConflict) {
		s.Errorf("Stats before Start: %v, want ErrConflict", err)
	}
	s.startAgain(h)
	s.waitOutput(h, "ready\n")
	begin := time.Now()
	first := s.stats(h)
	if first.MemoryBytes <= 0 || first.PIDs < 1 || first.At.IsZero() {
		s.Errorf("implausible stats %+v", first)
	}
	s.eventually("CPU time of a spinning workload grows", func() bool {
		return s.stats(h).CPUTime >= first.CPUTime+200*time.Millisecond
	})
	used := s.stats(h).CPUTime - first.CPUTime
	if wall := time.Since(begin); used > 2*wall+time.Second {
		s.Errorf("%v of CPU time in %v by one thread", used, wall)
	}
}

func testLimitCPU(s *suite) {
	s.need(drivers.FeatureLimitCPU)
	s.need(drivers.FeatureStats)
	spec := s.spec(Workload{Kind: Spin})
	spec.Resources.CPUMillis = 200
	h := s.ready(spec)
	first := s.stats(h)
	time.Sleep(2 * time.Second) // a span to measure over, not a wait for something
	last := s.stats(h)
	used, wall := last.CPUTime-first.CPUTime, last.At.Sub(first.At)
	share := float64(used) / float64(wall)
	if share > 0.3 || share < 0.02 {
		s.Errorf("a limit of 0.2 cores let it use %.2f (%v in %v)", share, used, wall)
	}
}

func testLimitMemory(s *suite) {
	s.need(drivers.FeatureLimitMemory)
	spec := s.spec(Workload{Kind: Eat})
	spec.Resources.MemoryBytes = 64 << 20
	h := s.start(spec)
	exit := s.wait(h)
	if !exit.OOMKilled || exit.Code != 137 {
		s.Errorf("exit %+v, want code 137 and OOMKilled", exit)
	}
	if st := s.phase(h, drivers.PhaseExited); !st.Exit.OOMKilled {
		s.Errorf("Status says exit %+v, want OOMKilled", st.Exit)
	}

	spec = s.spec(Workload{Kind: Exit, N: 1})
	spec.Resources.MemoryBytes = 64 << 20
	h = s.start(spec)
	if exit := s.wait(h); exit.OOMKilled || exit.Code != 1 {
		s.Errorf("exit %+v, want code 1 and not OOMKilled", exit)
	}
}

func testLimitPIDs(s *suite) {
	s.need(drivers.FeatureLimitPIDs)
	h := s.start(s.spec(Workload{Kind: Fork, N: 40}))
	s.waitOutput(h, "all started\n")
	s.stop(h, drivers.StopOptions{})

	spec := s.spec(Workload{Kind: Fork, N: 40})
	spec.Resources.PIDs = 16
	h = s.start(spec)
	if exit := s.wait(h); exit.Code == 0 {
		s.Errorf("exit %+v, want a shell that could not fork", exit)
	}
	if out := s.stdout(h); out != "" {
		s.Errorf("40 processes in spite of a limit of 16: %q", out)
	}
}
