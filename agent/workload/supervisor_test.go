package workload_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
	"github.com/edgeio/edgeio/proto/job"
)

// memory is a Store whose content outlives supervisors, as a disk does.
type memory struct {
	mu    sync.Mutex
	all   map[string]workload.Instance
	fail  error
	dead  bool // the process is killed: nothing is written any more
	saves int
}

func (m *memory) Load() ([]workload.Instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.all)), nil
}

func (m *memory) Save(put []workload.Instance, del []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.dead {
		return nil
	}
	m.saves++
	if m.all == nil {
		m.all = map[string]workload.Instance{}
	}
	for _, in := range put {
		in.Inspect, in.RetryIn, in.Tries, in.Note = false, 0, 0, ""
		m.all[in.ID] = in
	}
	for _, id := range del {
		delete(m.all, id)
	}
	return nil
}

// node is a machine with a fake runtime on which supervisors come and go.
type node struct {
	t     *testing.T
	host  *fake.Host
	store memory
	boot  string

	*workload.Supervisor
	end func()
}

func newNode(t *testing.T, script func(drivers.Spec) fake.Script) *node {
	n := &node{t: t, host: fake.NewHost(script), boot: "boot-1"}
	n.start()
	t.Cleanup(func() { n.stop() })
	return n
}

func (n *node) start() {
	n.t.Helper()
	s, err := workload.New(workload.Config{
		Drivers: map[string]drivers.Driver{"fake": fake.New(n.host)},
		Store:   &n.store,
		Host:    workload.Host{Arch: "amd64", Capacity: workload.Resources{CPUMillis: 4000, MemoryBytes: 4e9, DiskBytes: 40e9}},
		BootID:  n.boot,
		Log:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.Probed(n.t.Context())
	n.Supervisor = s
	n.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Errorf("run: %v", err)
		}
	})
}

func (n *node) stop() { n.end() }

// kill ends the agent as kill -9 does: what it has not written is lost.
func (n *node) kill() {
	n.store.mu.Lock()
	n.store.dead = true
	n.store.mu.Unlock()
	n.stop()
	n.store.dead = false
}

func (n *node) apply(b workload.Batch) workload.Answer {
	n.t.Helper()
	a, err := n.Apply(n.t.Context(), b)
	if err != nil {
		n.t.Fatal(err)
	}
	return a
}

func (n *node) put(as ...workload.Assignment) {
	n.t.Helper()
	if a := n.apply(workload.Batch{Put: as}); len(a.Refusals) > 0 {
		n.t.Fatalf("refused: %v", a.Refusals)
	}
}

func (n *node) instance(id string) workload.Instance {
	n.t.Helper()
	for _, in := range n.Instances() {
		if in.ID == id {
			return in
		}
	}
	n.t.Fatalf("no instance %s", id)
	return workload.Instance{}
}

func (n *node) wantState(id string, want job.State) workload.Instance {
	n.t.Helper()
	synctest.Wait()
	in := n.instance(id)
	if in.State != want {
		n.t.Fatalf("%s is %s (%s), want %s; history %v", id, in.State, in.Note, want, in.Changes)
	}
	return in
}

// workloads lists what the runtime holds.
func (n *node) workloads() []string {
	n.t.Helper()
	hs, err := fake.New(n.host).List(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for _, h := range hs {
		out = append(out, fmt.Sprintf("%s/%d", h.ID, h.Generation))
	}
	slices.Sort(out)
	return out
}

// acknowledge plays a parent that stores all it is told.
func (n *node) acknowledge() []workload.Status {
	n.t.Helper()
	synctest.Wait()
	news := n.TakeNews(1000)
	var acks []workload.Acknowledgement
	for _, st := range news {
		acks = append(acks, workload.Acknowledgement{ID: st.ID, Generation: st.Generation, Seq: st.Seq})
	}
	n.Acknowledge(acks)
	return news
}

func assign(id string, generation uint64, change ...func(*job.Job)) workload.Assignment {
	j := job.Job{APIVersion: job.APIVersion, Name: "test", Image: "image", Runtime: "fake"}
	for _, f := range change {
		f(&j)
	}
	return workload.Assignment{ID: id, Generation: generation, JobID: "j-" + id, Job: j}
}

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
