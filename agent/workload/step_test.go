package workload

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
)

var (
	testNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	testEnv = Env{Now: testNow, BootID: "boot"}
	phases  = []Phase{PhaseClear, PhaseCreate, PhaseStart, PhaseRun, PhaseWait, PhaseEnded, PhaseStop, PhaseRemove, PhaseGone}
)

func handleOf(generation uint64) *drivers.Handle {
	return &drivers.Handle{Driver: "fake", ID: "a", Generation: generation}
}

// inPhase returns instances as they are found in a phase.
func inPhase(p Phase) []Instance {
	in := accept(Assignment{ID: "a", Generation: 2, Job: job.Job{Runtime: "fake"}}, nil, testNow)
	in.Phase = p
	with := in
	with.Handle = handleOf(2)
	with.StartedAt, with.BootID = testNow.Add(-time.Second), "boot"
	running := with.move(job.Running, "started", nil, testNow)
	removed := func(in Instance) Instance { in.Removed = true; return in }
	switch p {
	case PhaseClear:
		old := in
		old.Leftovers = []Leftover{{Runtime: "fake", Handle: *handleOf(1)}}
		return []Instance{in, old, removed(old)}
	case PhaseCreate:
		return []Instance{in}
	case PhaseStart:
		return []Instance{with}
	case PhaseRun:
		return []Instance{running}
	case PhaseWait:
		in.Delay, with.Delay = time.Second, time.Second
		return []Instance{in, with}
	case PhaseEnded:
		return []Instance{in.move(job.Failed, "image", nil, testNow), running.move(job.Failed, "exit", nil, testNow)}
	case PhaseGone:
		return []Instance{removed(in).move(job.Terminated, "", nil, testNow)}
	}
	return []Instance{removed(in), removed(running)}
}

// answers are the results that the action of a phase can have.
func answers(a ActionKind) []Event {
	errs := func(events ...Event) []Event {
		for _, class := range []error{
			drivers.ErrInvalid, drivers.ErrNotFound, drivers.ErrConflict, drivers.ErrUnavailable, drivers.ErrImage,
			drivers.ErrDenied, drivers.ErrExhausted, drivers.ErrUnsupported, context.DeadlineExceeded, errors.New("odd"),
		} {
			events = append(events, Event{Kind: EventError, Err: fmt.Errorf("do: %w", class)})
		}
		return events
	}
	switch a {
	case ActClear:
		return errs(Event{Kind: EventCleared})
	case ActCreate:
		return errs(Event{Kind: EventCreated, Handle: handleOf(2)})
	case ActStart:
		return errs(Event{Kind: EventStarted})
	case ActInspect:
		at := func(p drivers.Phase) Event {
			return Event{Kind: EventInspected, Status: drivers.Status{Phase: p, StartedAt: testNow, Exit: drivers.Exit{Code: 1}}}
		}
		return errs(at(drivers.PhaseCreated), at(drivers.PhaseRunning), at(drivers.PhaseExited))
	case ActWait:
		return errs(Event{Kind: EventExited}, Event{Kind: EventExited, Exit: drivers.Exit{Code: 1}}, Event{Kind: EventExited, Exit: drivers.Exit{Code: -1, Lost: true}})
	case ActSleep:
		return []Event{{Kind: EventTimer}}
	case ActStop:
		return errs(Event{Kind: EventStopped})
	case ActRemove:
		return errs(Event{Kind: EventRemoved})
	}
	return nil
}

// TestEveryStepKeepsTheRules takes every phase through every event that can
// come there, two deep, and checks what must hold after each.
func TestEveryStepKeepsTheRules(t *testing.T) {
	for _, p := range phases {
		for _, in := range inPhase(p) {
			walk(t, in, 4)
		}
	}
}

func walk(t *testing.T, in Instance, depth int) {
	t.Helper()
	act := Next(in, testNow)
	if (act.Kind == ActNothing) != !in.Active() {
		t.Fatalf("phase %s: action %d, active %t", in.Phase, act.Kind, in.Active())
	}
	if depth == 0 {
		return
	}
	events := answers(act.Kind)
	recovered := []*drivers.Handle{nil}
	if in.Phase != PhaseGone {
		recovered = append(recovered, handleOf(in.Generation))
	}
	for _, h := range recovered {
		events = append(events, Event{Kind: EventRecover, Handle: h, Others: []drivers.Handle{*handleOf(1)}})
	}
	events = append(events,
		Event{Kind: EventRemove},
		Event{Kind: EventReplace, Assignment: Assignment{ID: "a", Generation: in.Generation + 1}})
	if in.Phase == PhaseClear || in.Phase == PhaseStop {
		// Only a wish that overtakes a Create can bring it about.
		events = append(events, Event{Kind: EventLate, Handle: handleOf(1)})
	}
	for _, ev := range events {
		out := Step(in, ev, testEnv)
		if problem := broken(in, out, ev); problem != "" {
			t.Fatalf("phase %s (removed %t), event %d (%v): %s\nbefore %+v\nafter  %+v", in.Phase, in.Removed, ev.Kind, ev.Err, problem, in, out)
		}
		walk(t, out, depth-1)
	}
}

// broken says which rule a step breaks.
func broken(in, out Instance, ev Event) string {
	if ev.Kind != EventReplace {
		if out.State != in.State && job.Move(in.State, out.State) != nil && len(out.Changes) < len(in.Changes)+2 {
			return "the state table does not allow that"
		}
		for i := 1; i < len(out.Changes); i++ {
			if out.Changes[i].Seq != out.Changes[i-1].Seq+1 || job.Move(out.Changes[i-1].State, out.Changes[i].State) != nil {
				return "the history does not follow the table"
			}
		}
	}
	// What exists must be known of, or it would never be removed.
	if in.Handle != nil && out.Handle == nil && ev.Kind == EventReplace && len(out.Leftovers) == 0 {
		return "a workload is forgotten"
	}
	switch {
	case len(out.Leftovers) > 0 && out.Phase != PhaseClear:
		return "it goes on although old workloads are left"
	case out.Phase == PhaseGone && out.Handle != nil:
		return "it is gone although it has a workload"
	case (out.Phase == PhaseStart || out.Phase == PhaseRun) && out.Handle == nil:
		return "nothing to start or to wait for"
	case out.Removed && (out.Phase == PhaseCreate || out.Phase == PhaseStart || out.Phase == PhaseRun || out.Phase == PhaseWait):
		return "it would start although it is not wanted"
	case out.State == job.Running && out.Phase == PhaseCreate:
		return "RUNNING without a workload"
	case out.Phase == PhaseGone && out.State != job.Terminated:
		return "gone but not TERMINATED"
	case out.Phase == PhaseEnded && out.State != job.Failed && out.State != job.Completed:
		return "ended without a final state"
	case ev.Kind == EventReplace && (out.Phase != PhaseClear || out.Seq != 1 || out.Removed):
		return "the new generation does not begin anew"
	}
	return ""
}

func TestHistoryIsBounded(t *testing.T) {
	in := accept(Assignment{ID: "a", Generation: 1}, nil, testNow)
	for range maxChanges {
		in = in.move(job.Running, "started", nil, testNow)
		in = in.move(job.ScheduledNode, "exited", nil, testNow)
	}
	if len(in.Changes) != maxChanges || in.Dropped != maxChanges+1 {
		t.Fatalf("%d changes kept, %d dropped", len(in.Changes), in.Dropped)
	}
	if last := in.Changes[maxChanges-1]; last.Seq != in.Seq {
		t.Errorf("the newest is %d, want %d", last.Seq, in.Seq)
	}
	acked := in.acknowledge(1, in.Seq-1)
	if len(acked.Changes) != 1 || acked.Dropped != 0 {
		t.Errorf("%d left after the acknowledgement", len(acked.Changes))
	}
	if other := in.acknowledge(2, in.Seq); len(other.Changes) != maxChanges {
		t.Error("the acknowledgement of another generation counts")
	}
}

func TestClockSetBackDoesNotDelayARestart(t *testing.T) {
	in := Instance{Phase: PhaseWait, Delay: 2 * time.Second, NotBefore: testNow.Add(100 * 24 * time.Hour)}
	if act := Next(in, testNow); act.For > 2*time.Second {
		t.Errorf("sleeps %s", act.For)
	}
}
