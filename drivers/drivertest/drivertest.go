// Package drivertest is the conformance suite of the driver contract: a driver
// that passes Run keeps every promise of package drivers, on the real runtime.
//
// A driver adopts it with a Harness of some forty lines in a test of its own.
// The suite never asks which driver it runs: what a driver can do is what its
// Probe declares, and each declared feature is tested.
package drivertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
)

// Harness is what a driver tells the suite about itself.
type Harness struct {
	// Open returns a new Driver whose state lives in dir. Called again with
	// the same dir it must find what an earlier Driver left there: that is an
	// agent that starts again. Workloads of another dir are another agent's.
	// If the Driver is an io.Closer, the suite closes it; its workloads go on.
	Open func(t testing.TB, dir string) drivers.Driver

	// Spec returns what makes this runtime do w. ID, Generation, Env, User,
	// Ports and Resources are set by the suite. Runtimes with a POSIX shell
	// set Image and take Command and Args from w.Shell. A runtime that cannot
	// do w calls t.Skip.
	Spec func(t testing.TB, w Workload) drivers.Spec

	// Features that Probe must declare, no more and no less.
	Features []drivers.Feature

	// Unsupported are the kinds of workloads that there are none of on this
	// runtime by its nature, with the reason: a unikernel has no processes. The
	// cases that are about them are skipped; others use the next best kind.
	Unsupported map[Kind]string

	// BadImages are specs whose Create or Start must fail with ErrImage; by name.
	BadImages map[string]func(t testing.TB) drivers.Spec

	// Residue names what should not be there any more once all workloads are
	// removed (processes, cgroups, containers, …). It may be nil.
	Residue func() []string
}

// patience bounds every wait of the suite: long enough for a loaded machine,
// never reached by a driver that works.
const patience = 45 * time.Second

// Run runs the suite as subtests of t.
func Run(t *testing.T, h Harness) {
	t.Helper()
	cases := []struct {
		name string
		test func(*suite)
	}{
		{"probe", testProbe},
		{"lifecycle", testLifecycle},
		{"idempotence", testIdempotence},
		{"generations", testGenerations},
		{"invalid specs", testInvalidSpecs},
		{"bad images", testBadImages},
		{"create cancelled", testCreateCancelled},
		{"wrong phase", testWrongPhase},
		{"handle of another version", testHandleVersion},
		{"gone", testGone},
		{"list", testList},
		{"concurrency", testConcurrency},
		{"exit code", testExitCode},
		{"wait", testWait},
		{"start again", testStartAgain},
		{"stop with grace", testStopGrace},
		{"stop by force", testStopForce},
		{"stop with signal", testStopSignal},
		{"stop ends the tree", testStopTree},
		{"exit ends the tree", testExitTree},
		{"env and args", testEnvArgs},
		{"workdir", testWorkdir},
		{"user", testUser},
		{"ports", testPorts},
		{"devices", testDevices},
		{"log bytes", testLogBytes},
		{"log long line", testLogLongLine},
		{"log streams", testLogStreams},
		{"log order", testLogOrder},
		{"log tail and since", testLogTailSince},
		{"log follow", testLogFollow},
		{"log follow ends", testLogFollowEnds},
		{"log sink error", testLogSinkError},
		{"exec", testExec},
		{"exec stdin", testExecStdin},
		{"exec cancelled", testExecCancelled},
		{"exec tty", testExecTTY},
		{"stats", testStats},
		{"limit cpu", testLimitCPU},
		{"limit memory", testLimitMemory},
		{"limit pids", testLimitPIDs},
		{"adopt running", testAdoptRunning},
		{"adopt ended", testAdoptEnded},
		{"adopt many", testAdoptMany},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSuite(t, h)
			c.test(s)
		})
	}
	t.Run("residue", func(t *testing.T) {
		if h.Residue == nil {
			t.Skip("this harness names no residue")
		}
		if left := h.Residue(); len(left) > 0 {
			t.Errorf("left behind by the suite: %s", strings.Join(left, ", "))
		}
	})
}

// Require skips the test if a runtime is not usable here, unless the
// environment variable EDGEIO_REQUIRE (a comma-separated list) names it: then
// the test fails, so that CI cannot skip silently.
func Require(t testing.TB, name string, usable bool, reason string) {
	t.Helper()
	if usable {
		return
	}
	required := strings.Split(os.Getenv("EDGEIO_REQUIRE"), ",")
	if slices.Contains(required, name) {
		t.Fatalf("%s is required by EDGEIO_REQUIRE but not usable: %s", name, reason)
	}
	t.Skipf("%s is not usable here: %s", name, reason)
}

// suite is one case: one agent with one state directory.
type suite struct {
	*testing.T
	h   Harness
	dir string
	d   drivers.Driver
	ctx context.Context
}

func newSuite(t *testing.T, h Harness) *suite {
	// Cleanups run last in, first out: the check for stray goroutines comes
	// after the workloads are removed and the driver is closed.
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if !t.Failed() {
			goleak.VerifyNone(t, before)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	s := &suite{T: t, h: h, dir: t.TempDir(), ctx: ctx}
	s.d = h.Open(t, s.dir)
	t.Cleanup(func() {
		s.sweep()
		s.close()
	})
	return s
}

// sweep removes all workloads, so that a failed case leaves none running.
func (s *suite) sweep() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	handles, err := s.d.List(ctx)
	if err != nil {
		s.Errorf("List at the end: %v", err)
	}
	for _, h := range handles {
		if err := s.d.Stop(ctx, h, drivers.StopOptions{}); err != nil {
			s.Errorf("Stop %s at the end: %v", h.ID, err)
		}
		if err := s.d.Remove(ctx, h); err != nil {
			s.Errorf("Remove %s at the end: %v", h.ID, err)
		}
	}
}

func (s *suite) close() {
	if c, ok := s.d.(io.Closer); ok {
		if err := c.Close(); err != nil {
			s.Errorf("Close: %v", err)
		}
	}
}

// closeDriver ends the agent's life; openDriver begins the next one.
func (s *suite) closeDriver() { s.close() }
func (s *suite) openDriver()  { s.d = s.h.Open(s, s.dir) }

// reopen is an agent that starts again.
func (s *suite) reopen() {
	s.closeDriver()
	s.openDriver()
}

// need skips the case unless the harness declares f.
func (s *suite) need(f drivers.Feature) {
	s.Helper()
	if !slices.Contains(s.h.Features, f) {
		s.Skipf("the driver does not declare %s", f)
	}
}

var lastID atomic.Int64

// spec returns a Spec for w with an ID that no other spec of this process has.
func (s *suite) spec(w Workload) drivers.Spec {
	s.Helper()
	if reason, ok := s.h.Unsupported[w.Kind]; ok {
		s.Skipf("the runtime has no workload %s: %s", w.Kind, reason)
	}
	spec := s.h.Spec(s, w)
	spec.ID = fmt.Sprintf("t%d-%d", os.Getpid(), lastID.Add(1))
	spec.Generation = 1
	spec.Name = string(w.Kind)
	spec.Env = w.Env
	return spec
}

// patient is a workload that waits, and how it ends on SIGTERM: politely with
// last words, where there is such a thing.
func (s *suite) patient() (w Workload, code int, last string) {
	if _, ok := s.h.Unsupported[WaitPolite]; ok {
		return Workload{Kind: Wait}, 143, ""
	}
	return Workload{Kind: WaitPolite}, 7, "bye\n"
}

// create creates spec and returns its handle as the agent's store would.
func (s *suite) create(spec drivers.Spec) drivers.Handle {
	s.Helper()
	h, err := s.d.Create(s.ctx, spec, nil)
	if err != nil {
		s.Fatalf("Create: %v", err)
	}
	return stored(s, h)
}

// stored takes h through JSON, which is how the agent keeps it.
func stored(t testing.TB, h drivers.Handle) drivers.Handle {
	t.Helper()
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatalf("marshal handle: %v", err)
	}
	var back drivers.Handle
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatalf("unmarshal handle: %v", err)
	}
	return back
}

// start creates and starts spec.
func (s *suite) start(spec drivers.Spec) drivers.Handle {
	s.Helper()
	h := s.create(spec)
	s.startAgain(h)
	return h
}

func (s *suite) startAgain(h drivers.Handle) {
	s.Helper()
	if err := s.d.Start(s.ctx, h); err != nil {
		s.Fatalf("Start: %v", err)
	}
}

// ready starts spec and waits for its first output.
func (s *suite) ready(spec drivers.Spec) drivers.Handle {
	s.Helper()
	h := s.start(spec)
	s.waitOutput(h, "ready\n")
	return h
}

func (s *suite) stop(h drivers.Handle, o drivers.StopOptions) {
	s.Helper()
	if err := s.d.Stop(s.ctx, h, o); err != nil {
		s.Fatalf("Stop: %v", err)
	}
}

func (s *suite) remove(h drivers.Handle) {
	s.Helper()
	if err := s.d.Remove(s.ctx, h); err != nil {
		s.Fatalf("Remove: %v", err)
	}
}

func (s *suite) status(h drivers.Handle) drivers.Status {
	s.Helper()
	st, err := s.d.Status(s.ctx, h)
	if err != nil {
		s.Fatalf("Status: %v", err)
	}
	return st
}

// wait waits for the end of the run.
func (s *suite) wait(h drivers.Handle) drivers.Exit {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	exit, err := s.d.Wait(ctx, h)
	if err != nil {
		s.Fatalf("Wait: %v", err)
	}
	return exit
}

func (s *suite) phase(h drivers.Handle, want drivers.Phase) drivers.Status {
	s.Helper()
	st := s.status(h)
	if st.Phase != want {
		s.Fatalf("phase %q, want %q (status %+v)", st.Phase, want, st)
	}
	return st
}

// ids returns what List finds, as "id/generation", sorted.
func (s *suite) ids() []string {
	s.Helper()
	handles, err := s.d.List(s.ctx)
	if err != nil {
		s.Fatalf("List: %v", err)
	}
	return names(handles...)
}

func names(handles ...drivers.Handle) []string {
	var out []string
	for _, h := range handles {
		out = append(out, fmt.Sprintf("%s/%d", h.ID, h.Generation))
	}
	slices.Sort(out)
	return out
}

func (s *suite) wantList(handles ...drivers.Handle) {
	s.Helper()
	if d := cmp.Diff(names(handles...), s.ids(), cmpopts.EquateEmpty()); d != "" {
		s.Errorf("List (-want +got):\n%s", d)
	}
}
