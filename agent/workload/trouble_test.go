package workload_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
	"github.com/edgeio/edgeio/proto/job"
)

func TestRemovalCancelsAPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		n.host.Inject(fake.OpCreate, fake.Fault{Delay: time.Hour})
		n.put(assign("a", 1))
		synctest.Wait()
		if news := n.acknowledge(); len(news) != 1 || news[0].Progress == nil || news[0].Progress.Phase != "pulling" {
			t.Errorf("no progress is shown: %+v", news)
		}
		before := time.Now()
		n.apply(workload.Batch{Remove: []string{"a"}})
		n.wantState("a", job.Terminated)
		if d := time.Since(before); d > time.Second {
			t.Errorf("took %s", d)
		}
	})
}

func TestDriverTrouble(t *testing.T) {
	fault := func(class error, times int) fake.Fault {
		return fake.Fault{Err: drivers.Errorf(class, "create", "a", "no luck"), Times: times}
	}
	for _, c := range []struct {
		name  string
		op    fake.Op
		fault fake.Fault
		want  job.State
	}{
		{"invalid is final", fake.OpCreate, fault(drivers.ErrInvalid, 0), job.Failed},
		{"a missing image is final", fake.OpCreate, fault(drivers.ErrImage, 0), job.Failed},
		{"a registry that is away is waited for, for a while", fake.OpCreate, fake.Fault{Err: fmt.Errorf("%w: %w", drivers.ErrImage, drivers.ErrUnavailable)}, job.Failed},
		{"and used once it is back", fake.OpCreate, fake.Fault{Err: fmt.Errorf("%w: %w", drivers.ErrImage, drivers.ErrUnavailable), Times: 3}, job.Running},
		{"a runtime that is away is waited for", fake.OpStart, fault(drivers.ErrUnavailable, 20), job.Running},
		{"a conflict counts as a failed run", fake.OpStart, fault(drivers.ErrConflict, 2), job.Running},
		{"until the attempts are over", fake.OpStart, fault(drivers.ErrConflict, 0), job.Failed},
		{"a full disk, too", fake.OpCreate, fault(drivers.ErrExhausted, 0), job.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, nil)
				n.host.Inject(c.op, c.fault)
				n.put(assign("a", 1, func(j *job.Job) { j.Restart.Policy, j.Restart.Attempts = job.RestartOnFailure, 3 }))
				time.Sleep(20 * time.Minute)
				in := n.wantState("a", c.want)
				if c.want == job.Failed && in.Final == "" {
					t.Error("failed without a reason")
				}
				n.host.Clear(c.op)
				n.apply(workload.Batch{Remove: []string{"a"}})
				n.wantState("a", job.Terminated)
			})
		})
	}
}

func TestFailureShowsTheLastLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(drivers.Spec) fake.Script {
			return fake.Script{Steps: []fake.Step{{Text: "starting\n"}, {Stream: drivers.Stderr, Text: "no such database\n"}}, Code: 3}
		})
		n.put(assign("a", 1, func(j *job.Job) { j.Restart.Policy = job.RestartNever }))
		in := n.wantState("a", job.Failed)
		last := in.Changes[len(in.Changes)-1]
		if !strings.Contains(last.Reason, "exited with code 3") || !strings.Contains(last.Reason, "no such database") {
			t.Errorf("reason %q", last.Reason)
		}
		if last.Exit == nil || last.Exit.Code != 3 || in.Exit == nil {
			t.Errorf("exit %v", last.Exit)
		}
		if free := n.Offer().Free; free != n.Offer().Capacity {
			t.Errorf("a failed instance still holds resources: %v free", free)
		}
		var out strings.Builder
		err := n.Logs(t.Context(), "a", drivers.LogOptions{Tail: -1}, func(e drivers.LogEntry) error { out.Write(e.Data); return nil })
		if err != nil || out.String() != "starting\nno such database\n" {
			t.Errorf("logs %q, %v", out.String(), err)
		}
	})
}

func TestLogsWaitForTheWorkload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(drivers.Spec) fake.Script {
			return fake.Script{Steps: []fake.Step{{Text: "hello\n"}}, Forever: true}
		})
		n.host.Inject(fake.OpCreate, fake.Fault{Delay: time.Minute, Times: 1})
		n.put(assign("a", 1))
		got := make(chan string, 1)
		done := make(chan error, 1)
		go func() {
			done <- n.Logs(t.Context(), "a", drivers.LogOptions{Follow: true, Tail: -1}, func(e drivers.LogEntry) error {
				got <- string(e.Data)
				return nil
			})
		}()
		if s := <-got; s != "hello\n" {
			t.Errorf("got %q", s)
		}
		n.apply(workload.Batch{Remove: []string{"a"}})
		if err := <-done; err != nil {
			t.Errorf("logs of a removed instance end with %v", err)
		}
		if err := n.Logs(t.Context(), "x", drivers.LogOptions{}, nil); !errors.Is(err, drivers.ErrNotFound) {
			t.Errorf("unknown instance: %v", err)
		}
	})
}

func TestNothingIsAcceptedThatIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		n.store.fail = errors.New("no space left")
		if _, err := n.Apply(t.Context(), workload.Batch{Put: []workload.Assignment{assign("a", 1)}}); err == nil {
			t.Fatal("accepted")
		}
		synctest.Wait()
		if w, all := n.workloads(), n.Instances(); len(w)+len(all) > 0 {
			t.Errorf("workloads %v, instances %v", w, all)
		}
		n.store.mu.Lock()
		n.store.fail = nil
		n.store.mu.Unlock()
		n.put(assign("a", 1))
		n.wantState("a", job.Running)
	})
}

func TestOrphansAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		n.put(assign("a", 1), assign("b", 1))
		synctest.Wait()
		n.stop()
		delete(n.store.all, "a")
		n.start()
		synctest.Wait()
		if w := n.workloads(); !slices.Equal(w, []string{"b/1"}) {
			t.Errorf("the runtime holds %v", w)
		}
	})
}

func TestRuntimeComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		n.put(assign("a", 1))
		synctest.Wait()
		n.stop()
		n.host.Down("the daemon is stopped", "start it")
		n.start()
		ans := n.apply(workload.Batch{Put: []workload.Assignment{assign("b", 1)}})
		if len(ans.Refusals) != 1 || !strings.Contains(ans.Refusals[0].Reason, "the daemon is stopped") {
			t.Errorf("answer %+v", ans)
		}
		n.apply(workload.Batch{Remove: []string{"a"}})
		time.Sleep(time.Hour)
		n.host.Up()
		n.wantState("a", job.Terminated)
		n.put(assign("b", 1))
		n.wantState("b", job.Running)
	})
}
