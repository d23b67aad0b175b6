package workload_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

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

	devices []workload.HostDevice
	labels  map[string]string
	taints  []job.Taint

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
		Host: workload.Host{
			Arch: "amd64", Capacity: workload.Resources{CPUMillis: 4000, MemoryBytes: 4e9, DiskBytes: 40e9},
			Devices: n.devices, Labels: n.labels, Taints: n.taints,
		},
		BootID: n.boot,
		Log:    slog.New(slog.DiscardHandler),
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
