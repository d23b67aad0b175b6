package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func testProbe(s *suite) {
	info := s.d.Probe(s.ctx)
	if info.Name == "" || !info.Usable || info.Version == "" {
		s.Fatalf("Probe: want a usable runtime with name and version, got %+v", info)
	}
	if !slices.IsSorted(info.Features) {
		s.Errorf("features are not sorted: %v", info.Features)
	}
	if d := cmp.Diff(slices.Sorted(slices.Values(s.h.Features)), info.Features, cmpopts.EquateEmpty()); d != "" {
		s.Errorf("features (-harness +probe):\n%s", d)
	}
	_, execs := s.d.(drivers.Execer)
	if declared := slices.Contains(info.Features, drivers.FeatureExec); declared && !execs {
		s.Errorf("declares %s but is no Execer", drivers.FeatureExec)
	}
	_, stats := s.d.(drivers.StatsReader)
	if declared := slices.Contains(info.Features, drivers.FeatureStats); declared && !stats {
		s.Errorf("declares %s but is no StatsReader", drivers.FeatureStats)
	}
	if slices.Contains(info.Features, drivers.FeatureTTY) && !slices.Contains(info.Features, drivers.FeatureExec) {
		s.Errorf("declares %s without %s", drivers.FeatureTTY, drivers.FeatureExec)
	}
	if !slices.Contains(info.Features, drivers.FeatureImageFile) && !slices.Contains(info.Features, drivers.FeatureImagePull) {
		s.Errorf("declares neither %s nor %s", drivers.FeatureImageFile, drivers.FeatureImagePull)
	}
}

func testLifecycle(s *suite) {
	s.wantList()
	h := s.create(s.spec(Workload{Kind: Wait}))
	if h.Driver == "" || h.Version == 0 {
		s.Errorf("handle without driver or version: %+v", h)
	}
	s.phase(h, drivers.PhaseCreated)
	s.wantList(h)

	begin := time.Now()
	s.startAgain(h)
	st := s.phase(h, drivers.PhaseRunning)
	if st.StartedAt.Before(begin.Add(-5*time.Second)) || st.StartedAt.After(time.Now().Add(5*time.Second)) {
		s.Errorf("StartedAt %v is not near now", st.StartedAt)
	}
	s.waitOutput(h, "ready\n")

	s.stop(h, drivers.StopOptions{Grace: patience})
	st = s.phase(h, drivers.PhaseExited)
	if st.Exit.Code != 143 || st.Exit.Lost || st.Exit.OOMKilled {
		s.Errorf("exit %+v, want code 143", st.Exit)
	}
	if st.Exit.At.Before(begin.Add(-5 * time.Second)) {
		s.Errorf("exit time %v is before the start", st.Exit.At)
	}
	s.wantList(h)
	s.remove(h)
	s.wantList()
}

func testIdempotence(s *suite) {
	spec := s.spec(Workload{Kind: Wait})
	h := s.create(spec)
	again := s.create(spec)
	if d := cmp.Diff(names(h), names(again)); d != "" {
		s.Errorf("Create again gave another workload:\n%s", d)
	}
	s.wantList(h)

	s.startAgain(h)
	s.waitOutput(h, "ready\n")
	pid, started := s.status(h).PID, s.status(h).StartedAt
	s.startAgain(again)
	s.create(spec)
	if st := s.phase(h, drivers.PhaseRunning); st.PID != pid || !st.StartedAt.Equal(started) {
		s.Errorf("Start or Create of a running workload disturbed it: was pid %d since %v, now %+v", pid, started, st)
	}
	s.stop(h, drivers.StopOptions{Grace: patience})
	s.stop(again, drivers.StopOptions{Grace: patience})
	if st := s.phase(h, drivers.PhaseExited); st.Exit.Code != 143 {
		s.Errorf("exit %+v, want code 143", st.Exit)
	}
	s.remove(h)
	s.remove(again)
	s.wantList()
}

func testGenerations(s *suite) {
	spec := s.spec(Workload{Kind: Wait})
	one := s.ready(spec)
	spec.Generation = 2
	two := s.create(spec)
	s.wantList(one, two)
	s.phase(one, drivers.PhaseRunning)
	s.phase(two, drivers.PhaseCreated)
	s.remove(two)
	s.wantList(one)
	s.phase(one, drivers.PhaseRunning)
}

func testInvalidSpecs(s *suite) {
	for _, id := range []string{"", "../x", "a/b", "UPPER", "dot.dot", "x\x00y"} {
		spec := s.spec(Workload{Kind: Exit})
		spec.ID = id
		if _, err := s.d.Create(s.ctx, spec, nil); !errors.Is(err, drivers.ErrInvalid) {
			s.Errorf("Create with ID %q: %v, want ErrInvalid", id, err)
		}
	}
	s.wantList()
}

func testBadImages(s *suite) {
	if len(s.h.BadImages) == 0 {
		s.Skip("this harness names no bad images")
	}
	for name, make := range s.h.BadImages {
		spec := make(s)
		spec.ID, spec.Generation = fmt.Sprintf("bad%d", lastID.Add(1)), 1
		h, err := s.d.Create(s.ctx, spec, nil)
		if err == nil {
			err = s.d.Start(s.ctx, h)
			s.remove(h)
		}
		if !errors.Is(err, drivers.ErrImage) {
			s.Errorf("%s: %v, want ErrImage", name, err)
		}
	}
	s.wantList()
}

// testCreateCancelled ends the context at many moments of a Create.
func testCreateCancelled(s *suite) {
	delays := []time.Duration{0, 100 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 40 * time.Millisecond}
	for _, delay := range delays {
		spec := s.spec(Workload{Kind: Exit})
		ctx, cancel := context.WithTimeout(s.ctx, delay)
		begin := time.Now()
		h, err := s.d.Create(ctx, spec, nil)
		cancel()
		if took := time.Since(begin); took > delay+10*time.Second {
			s.Errorf("Create went on for %v after its context ended", took-delay)
		}
		if err == nil {
			s.remove(h)
			continue
		}
		s.wantList()
		s.remove(s.create(spec)) // and it can be done again
	}
	s.wantList()
}

func testWrongPhase(s *suite) {
	h := s.create(s.spec(Workload{Kind: Wait}))
	if _, err := s.d.Wait(s.ctx, h); !errors.Is(err, drivers.ErrConflict) {
		s.Errorf("Wait before Start: %v, want ErrConflict", err)
	}
	if out := s.logs(h, all); out.stdout.Len()+out.stderr.Len() > 0 {
		s.Errorf("output before Start: %+v", out)
	}
	s.stop(h, drivers.StopOptions{})
	s.phase(h, drivers.PhaseCreated)
	s.startAgain(h)
	if err := s.d.Remove(s.ctx, h); !errors.Is(err, drivers.ErrConflict) {
		s.Errorf("Remove of a running workload: %v, want ErrConflict", err)
	}
	s.phase(h, drivers.PhaseRunning)
}

// calls are all the calls that take a handle.
func (s *suite) calls(h drivers.Handle) map[string]error {
	errs := map[string]error{
		"Start":  s.d.Start(s.ctx, h),
		"Stop":   s.d.Stop(s.ctx, h, drivers.StopOptions{}),
		"Remove": s.d.Remove(s.ctx, h),
		"Logs":   s.d.Logs(s.ctx, h, all, func(drivers.LogEntry) error { return nil }),
	}
	_, errs["Status"] = s.d.Status(s.ctx, h)
	_, errs["Wait"] = s.d.Wait(s.ctx, h)
	if slices.Contains(s.h.Features, drivers.FeatureExec) {
		_, errs["Exec"] = s.d.(drivers.Execer).Exec(s.ctx, h, drivers.ExecOptions{Command: []string{"/bin/true"}})
	}
	if slices.Contains(s.h.Features, drivers.FeatureStats) {
		_, errs["Stats"] = s.d.(drivers.StatsReader).Stats(s.ctx, h)
	}
	return errs
}

func testHandleVersion(s *suite) {
	h := s.ready(s.spec(Workload{Kind: Wait}))
	other := h
	other.Version += 1000
	for call, err := range s.calls(other) {
		if !errors.Is(err, drivers.ErrInvalid) {
			s.Errorf("%s of a handle of another version: %v, want ErrInvalid", call, err)
		}
	}
	s.phase(h, drivers.PhaseRunning)
}

func testGone(s *suite) {
	h := s.create(s.spec(Workload{Kind: Wait}))
	s.remove(h)
	for call, err := range s.calls(h) {
		switch call {
		case "Stop", "Remove":
			if err != nil {
				s.Errorf("%s of what is gone: %v, want nil", call, err)
			}
		default:
			if !errors.Is(err, drivers.ErrNotFound) {
				s.Errorf("%s of what is gone: %v, want ErrNotFound", call, err)
			}
		}
	}
}

func testList(s *suite) {
	created := s.create(s.spec(Workload{Kind: Wait}))
	running := s.ready(s.spec(Workload{Kind: Wait}))
	ended := s.start(s.spec(Workload{Kind: Exit}))
	s.wait(ended)
	s.wantList(created, running, ended)

	want := map[string]drivers.Phase{
		created.ID: drivers.PhaseCreated, running.ID: drivers.PhaseRunning, ended.ID: drivers.PhaseExited,
	}
	handles, err := s.d.List(s.ctx)
	if err != nil {
		s.Fatalf("List: %v", err)
	}
	for _, h := range handles {
		s.phase(stored(s, h), want[h.ID])
	}

	s.T.Run("of another agent", func(t *testing.T) {
		other := newSuite(t, s.h)
		other.wantList()
	})
}

// testConcurrency takes 20 workloads through their lives at once.
func testConcurrency(s *suite) {
	specs := make([]drivers.Spec, 20)
	for i := range specs {
		specs[i] = s.spec(Workload{Kind: Exit, N: i})
	}
	var wg sync.WaitGroup
	for i, spec := range specs {
		wg.Go(func() {
			if err := s.oneLife(spec, i); err != nil {
				s.Errorf("workload %d: %v", i, err)
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			if _, err := s.d.List(s.ctx); err != nil {
				s.Errorf("List: %v", err)
			}
			if info := s.d.Probe(s.ctx); !info.Usable {
				s.Errorf("Probe: %+v", info)
			}
		}
	})
	wg.Wait()
	s.wantList()
}

func (s *suite) oneLife(spec drivers.Spec, code int) error {
	h, err := s.d.Create(s.ctx, spec, func(drivers.Progress) {})
	if err != nil {
		return err
	}
	if err := s.d.Start(s.ctx, h); err != nil {
		return err
	}
	if _, err := s.d.Status(s.ctx, h); err != nil {
		return err
	}
	exit, err := s.d.Wait(s.ctx, h)
	if err != nil {
		return err
	}
	if exit.Code != code {
		return fmt.Errorf("exit %+v, want code %d", exit, code)
	}
	return s.d.Remove(s.ctx, h)
}
