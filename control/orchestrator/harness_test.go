package orchestrator

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"storj.io/drpc/drpcmux"

	"github.com/edgeio/edgeio/control/scheduler"
	"github.com/edgeio/edgeio/control/store"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

// orchestratorUnderTest is a core with a listener on loopback.
type orchestratorUnderTest struct {
	*Core
	t         *testing.T
	authority *identitytest.Authority
	addr      string
	stop      func()
}

func start(t *testing.T, authority *identitytest.Authority, cfg Config) *orchestratorUnderTest {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = store.Memory()
	}
	if cfg.Tier == "" {
		cfg.Tier = Root
	}
	cfg.ID, cfg.Name, cfg.Strategy, cfg.Logger = "r-test", "test", scheduler.FirstFit, slog.New(slog.DiscardHandler)
	core, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	id := authority.Enrol(t, identity.Root, "root", time.Now())
	l, err := link.Listen("127.0.0.1:0", link.Config{TLS: id.ServerTLS(identity.TLSOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	server := &Server{Core: core, Listener: l, Logger: cfg.Logger}
	wait.Go(func() { _ = core.Run(ctx) })
	wait.Go(func() { _ = server.Run(ctx) })
	stop := sync.OnceFunc(func() { cancel(); wait.Wait() })
	t.Cleanup(stop)
	return &orchestratorUnderTest{Core: core, t: t, authority: authority, addr: l.Addr().String(), stop: stop}
}

// testChild is a child that does what it is told and remembers it.
type testChild struct {
	pb.DRPCChildUnimplementedServer
	id     *identity.Store
	name   string
	offer  *pb.Offer
	refuse string // reason to refuse everything with

	labels   map[string]string
	runtimes []*pb.Runtime

	mu       sync.Mutex
	held     map[string]*pb.Assignment
	applies  int
	sequence uint64
	changed  chan struct{}

	session *link.Session
	parent  pb.DRPCParentClient
}

func newChild(t *testing.T, a *identitytest.Authority, kind identity.Kind, name string, offer *pb.Offer) *testChild {
	return &testChild{
		id: a.Enrol(t, kind, name, time.Now()), name: name, offer: offer,
		held: map[string]*pb.Assignment{}, changed: make(chan struct{}, 1),
	}
}

// nodeOffer offers a native runtime with that many cores and 1 GB.
func nodeOffer(cores int64) *pb.Offer {
	free := &pb.Resources{CpuMillis: cores * 1000, MemoryBytes: 1e9, DiskBytes: 1e9}
	return &pb.Offer{
		Sequence: 1, Capacity: free, Free: free, Nodes: 1,
		Fits: []*pb.Fit{{Runtimes: []string{"native"}, Arch: "amd64", Free: free, Count: 1}},
	}
}

func (ch *testChild) connect(t *testing.T, o *orchestratorUnderTest) {
	t.Helper()
	sess, err := link.Dial(t.Context(), o.addr, link.Config{TLS: ch.id.ClientTLS(identity.TLSOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	ch.session, ch.parent = sess, pb.NewDRPCParentClient(sess.Conn())
	mux := drpcmux.New()
	if err := pb.DRPCRegisterChild(mux, ch); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = sess.Serve(context.Background(), mux) }()
	t.Cleanup(func() { sess.Close(link.CodeShutdown, "test over"); <-served })
	if _, err := ch.parent.Register(t.Context(), &pb.RegisterRequest{Name: ch.name, Location: "Garching", Offer: ch.offer, Labels: ch.labels, Runtimes: ch.runtimes}); err != nil {
		t.Fatal(err)
	}
}

func (ch *testChild) disconnect() { ch.session.Close(link.CodeShutdown, "cut off") }

func (ch *testChild) Apply(_ context.Context, req *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.applies++
	resp := &pb.ApplyResponse{}
	if req.GetSnapshotBegin() {
		clear(ch.held)
	}
	for _, as := range req.GetAssignments() {
		if ch.refuse != "" {
			resp.Refusals = append(resp.Refusals, &pb.Refusal{InstanceId: as.GetInstanceId(), Generation: as.GetGeneration(), Reason: ch.refuse})
			continue
		}
		ch.held[as.GetInstanceId()] = as
	}
	for _, id := range req.GetRemove() {
		if ch.held[id] == nil {
			resp.Absent = append(resp.Absent, id)
		}
		delete(ch.held, id)
	}
	signal(ch.changed)
	return resp, nil
}

func (ch *testChild) Explain(context.Context, *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	return &pb.ExplainResponse{Rejections: []*pb.Rejection{{Kind: "node", Id: "n-x", Name: "below-" + ch.name, Reason: "too small"}}}, nil
}

// assignment waits until the child holds the instance.
func (ch *testChild) assignment(t *testing.T, instanceID string) *pb.Assignment {
	t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		ch.mu.Lock()
		as := ch.held[instanceID]
		ch.mu.Unlock()
		if as != nil {
			return as
		}
		select {
		case <-ch.changed:
		case <-deadline:
			t.Fatalf("%s was not given %s", ch.name, instanceID)
		}
	}
}

// without waits until the child does not hold the instance any more.
func (ch *testChild) without(t *testing.T, instanceID string) {
	t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		ch.mu.Lock()
		as := ch.held[instanceID]
		ch.mu.Unlock()
		if as == nil {
			return
		}
		select {
		case <-ch.changed:
		case <-deadline:
			t.Fatalf("%s still holds %s", ch.name, instanceID)
		}
	}
}

// report tells of states as a child with a memory of its own does.
func (ch *testChild) report(t *testing.T, as *pb.Assignment, states ...job.State) {
	t.Helper()
	st := &pb.InstanceStatus{
		InstanceId: as.GetInstanceId(), Generation: as.GetGeneration(), Incarnation: 1,
		State: string(states[len(states)-1]), NodeId: "n-1", NodeName: "node-1",
	}
	for _, s := range states {
		ch.sequence++
		st.Changes = append(st.Changes, &pb.Change{Seq: ch.sequence, State: string(s), Reason: "test"})
	}
	if _, err := ch.parent.ReportStatus(t.Context(), &pb.ReportStatusRequest{Statuses: []*pb.InstanceStatus{st}}); err != nil {
		t.Fatal(err)
	}
}

func testJob(edit ...func(*job.Job)) *job.Job {
	j := &job.Job{APIVersion: job.APIVersion, Name: "web", Image: "/bin/sh", Runtime: "native", Requirements: job.Requirements{CPU: 1, Memory: 100}}
	for _, f := range edit {
		f(j)
	}
	j.Normalize()
	return j
}

func (o *orchestratorUnderTest) deploy(j *job.Job) *Instance {
	o.t.Helper()
	stored, err := o.Deploy(o.t.Context(), j, "tester", "")
	if err != nil {
		o.t.Fatal(err)
	}
	return o.InstancesOf(stored.ID)[0]
}

// await waits until the instance is in the state and returns it.
func (o *orchestratorUnderTest) await(instanceID string, want job.State) *Instance {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), 10*time.Second)
	defer cancel()
	events := make(chan struct{}, 1)
	go func() {
		_ = o.Watch(ctx, EventQuery{Follow: true}, func(Event) error { signal(events); return nil })
	}()
	for {
		if in := o.Instance(instanceID); in != nil && in.State == want {
			return in
		}
		select {
		case <-events:
		case <-ctx.Done():
			o.t.Fatalf("instance %s is not %s: %s", instanceID, want, dump(o.Instance(instanceID)))
		}
	}
}

func (o *orchestratorUnderTest) states(jobID string) []job.State {
	o.t.Helper()
	events, err := o.History(o.t.Context(), jobID)
	if err != nil {
		o.t.Fatal(err)
	}
	var out []job.State
	for _, ev := range events {
		out = append(out, ev.State)
	}
	return out
}

func expectStates(t *testing.T, got []job.State, want ...job.State) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("history is %v, want %v", got, want)
	}
}

func dump(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
