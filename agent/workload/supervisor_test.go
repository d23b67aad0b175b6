package workload_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
)

func TestServiceRunsUntilRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		n.put(assign("a", 1))
		n.wantState("a", job.Running)

		var seen []string
		for _, st := range n.acknowledge() {
			for _, c := range st.Changes {
				seen = append(seen, fmt.Sprintf("%d %s", c.Seq, c.State))
			}
		}
		if want := []string{"1 SCHEDULED_NODE", "2 RUNNING"}; !slices.Equal(seen, want) {
			t.Errorf("history %v, want %v", seen, want)
		}

		n.apply(workload.Batch{Remove: []string{"a", "b"}})
		n.wantState("a", job.Terminated)
		if w := n.workloads(); len(w) > 0 {
			t.Errorf("left behind: %v", w)
		}
		n.acknowledge()
		if all := n.Instances(); len(all) > 0 {
			t.Errorf("not forgotten: %v", all)
		}
		if a := n.apply(workload.Batch{Remove: []string{"a"}}); !slices.Equal(a.Absent, []string{"a"}) {
			t.Errorf("absent %v, want [a]", a.Absent)
		}
		synctest.Wait()
		if len(n.store.all) > 0 {
			t.Errorf("still stored: %v", n.store.all)
		}
	})
}

func TestAdoptionAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		for i := range 100 {
			n.put(assign(fmt.Sprintf("i%d", i), 1))
		}
		n.wantState("i99", job.Running)
		n.stop()
		n.host.End("i7", 1, drivers.Exit{Code: 3})
		time.Sleep(time.Minute)
		n.start()
		synctest.Wait()
		for i := range 100 {
			in := n.instance(fmt.Sprintf("i%d", i))
			switch {
			case i == 7 && in.State != job.ScheduledNode:
				t.Errorf("i7 ended while nobody looked, and is %s", in.State)
			case i != 7 && (in.State != job.Running || in.Restarts != 0):
				t.Errorf("%s is %s after %d restarts", in.ID, in.State, in.Restarts)
			}
		}
		time.Sleep(2 * time.Second)
		n.wantState("i7", job.Running)
	})
}

func TestRebootStartsAgainByPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		policies := []job.RestartPolicy{job.RestartAlways, job.RestartOnFailure, job.RestartNever}
		for _, p := range policies {
			n.put(assign(strings.ReplaceAll(string(p), "_", "-"), 1, func(j *job.Job) { j.Restart.Policy = p }))
		}
		synctest.Wait()
		n.stop()
		n.host.Reboot()
		n.boot = "boot-2"
		n.start()
		n.wantState("always", job.Running)
		n.wantState("on-failure", job.Running)
		in := n.wantState("never", job.Failed)
		if in.Final != "the node was restarted" {
			t.Errorf("reason %q", in.Final)
		}
	})
}

// What crashes when it starts must not be started more often because the agent
// is, too.
func TestBackoffSurvivesTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		n.put(assign("a", 1, func(j *job.Job) { j.Restart.Backoff = job.Duration(time.Minute) }))
		n.wantState("a", job.Running)
		n.host.End("a", 1, drivers.Exit{Code: 1})
		n.wantState("a", job.ScheduledNode)
		time.Sleep(20 * time.Second)
		n.stop()
		n.start()
		time.Sleep(39 * time.Second)
		n.wantState("a", job.ScheduledNode)
		time.Sleep(2 * time.Second)
		n.wantState("a", job.Running)
	})
}

func TestBatchJobIsNotRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		n.put(assign("a", 1, func(j *job.Job) { j.Kind = job.Batch }))
		// Killed before anything but the assignment was written.
		n.store.mu.Lock()
		n.store.dead = true
		n.store.mu.Unlock()
		synctest.Wait()
		n.kill()
		if w := n.workloads(); len(w) != 1 {
			t.Fatalf("workloads %v", w)
		}
		n.host.End("a", 1, drivers.Exit{})
		n.start()
		in := n.wantState("a", job.Completed)
		if in.Restarts != 0 || in.Phase != workload.PhaseEnded {
			t.Errorf("%d restarts, phase %s", in.Restarts, in.Phase)
		}
		n.put(assign("a", 1, func(j *job.Job) { j.Kind = job.Batch }))
		n.wantState("a", job.Completed)
	})
}

func TestHigherGenerationReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		n.put(assign("a", 1))
		n.wantState("a", job.Running)
		n.put(assign("a", 2))
		n.wantState("a", job.Running)
		if w := n.workloads(); !slices.Equal(w, []string{"a/2"}) {
			t.Errorf("the runtime holds %v", w)
		}
		if ans := n.apply(workload.Batch{Put: []workload.Assignment{assign("a", 1)}}); len(ans.Refusals) != 1 {
			t.Errorf("a lower generation is not refused: %+v", ans)
		}
		// A generation that cannot be taken ends the old one all the same.
		ans := n.apply(workload.Batch{Put: []workload.Assignment{assign("a", 3, func(j *job.Job) { j.Requirements.CPU = 99 })}})
		if len(ans.Refusals) != 1 {
			t.Fatalf("not refused: %+v", ans)
		}
		n.wantState("a", job.Terminated)
	})
}
