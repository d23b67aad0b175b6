package orchestrator

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgeio/edgeio/control/store"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

func TestDeployRunTerminate(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n.connect(t, o)

	in := o.deploy(testJob())
	as := n.assignment(t, in.ID)
	if as.GetGeneration() != generationStep {
		t.Errorf("first generation is %d, want %d", as.GetGeneration(), uint64(generationStep))
	}
	n.report(t, as, job.ScheduledNode, job.Running)
	running := o.await(in.ID, job.Running)
	if running.NodeName != "node-1" {
		t.Errorf("node is %q", running.NodeName)
	}
	if _, err := o.Terminate(t.Context(), in.JobID); err != nil {
		t.Fatal(err)
	}
	n.without(t, in.ID)
	n.report(t, as, job.Terminated)
	if done := o.await(in.ID, job.Terminated); done.ChildID != "" {
		t.Errorf("a terminated instance still belongs to %s", done.ChildID)
	}
	expectStates(t, o.states(in.JobID), job.Requested, job.ScheduledNode, job.Running, job.Terminated)
	if _, err := o.Terminate(t.Context(), in.JobID); err != nil {
		t.Errorf("terminate again: %v", err)
	}
	if _, err := o.Terminate(t.Context(), "nosuch"); !errors.Is(err, link.NotFound) {
		t.Errorf("terminate of an unknown job: %v", err)
	}
}

func TestRefusalMakesTheNextOneGetIt(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{})
	first := newChild(t, a, identity.Cluster, "a-cluster", nodeOffer(2))
	first.refuse = "it has changed meanwhile"
	second := newChild(t, a, identity.Cluster, "b-cluster", nodeOffer(2))
	first.connect(t, o)
	second.connect(t, o)

	in := o.deploy(testJob())
	as := second.assignment(t, in.ID)
	if as.GetGeneration() != 2*generationStep {
		t.Errorf("generation after a refusal is %d", as.GetGeneration())
	}
	expectStates(t, o.states(in.JobID), job.Requested, job.ScheduledCluster, job.Requested, job.ScheduledCluster)
}

func TestNotDeployableSaysWhyAndIsTriedAgain(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{})
	small := newChild(t, a, identity.Cluster, "small", nodeOffer(1))
	small.connect(t, o)

	in := o.deploy(testJob(func(j *job.Job) { j.Requirements.CPU = 4 }))
	got := o.await(in.ID, job.NotDeployable)
	if len(got.Rejections) != 1 || !strings.Contains(got.Rejections[0].Reason, "4 cores (1 free)") {
		t.Fatalf("rejections: %s", dump(got.Rejections))
	}
	if n := got.Rejections[0].Nested; len(n) != 1 || n[0].Name != "below-small" {
		t.Errorf("the cluster's nodes give no reason: %s", dump(got.Rejections))
	}
	big := newChild(t, a, identity.Cluster, "big", nodeOffer(8))
	big.connect(t, o)
	if _, err := big.parent.UpdateOffer(t.Context(), &pb.UpdateOfferRequest{Offer: func() *pb.Offer { f := nodeOffer(8); f.Sequence = 2; return f }()}); err != nil {
		t.Fatal(err)
	}
	big.assignment(t, in.ID)
	o.await(in.ID, job.ScheduledCluster)
}

func TestRoomIsReservedBeforeTheChildKnows(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n.connect(t, o)
	n.mu.Lock() // the child does not answer, so nothing of this is in its offer
	placed := map[job.State]int{}
	for range 4 {
		placed[o.deploy(testJob()).State]++
	}
	n.mu.Unlock()
	if placed[job.ScheduledNode] != 2 || placed[job.NotDeployable] != 2 {
		t.Errorf("of 4 jobs of one core on a node of 2: %v", placed)
	}
}

func TestReconnectBringsASnapshotAndEndsDangling(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{DanglingAfter: 10 * time.Millisecond})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n.connect(t, o)
	in := o.deploy(testJob())
	as := n.assignment(t, in.ID)
	n.report(t, as, job.ScheduledNode, job.Running)
	n.disconnect()
	o.await(in.ID, job.Dangling)

	n.mu.Lock()
	clear(n.held)
	n.mu.Unlock()
	n.connect(t, o)
	again := n.assignment(t, in.ID)
	if again.GetGeneration() != as.GetGeneration() {
		t.Errorf("generation changed from %d to %d", as.GetGeneration(), again.GetGeneration())
	}
	// Nothing new: the child only says that it still has it.
	st := &pb.InstanceStatus{InstanceId: in.ID, Generation: as.GetGeneration(), Incarnation: 1, State: string(job.Running), NodeId: "n-1", NodeName: "node-1"}
	if _, err := n.parent.ReportStatus(t.Context(), &pb.ReportStatusRequest{Statuses: []*pb.InstanceStatus{st}}); err != nil {
		t.Fatal(err)
	}
	o.await(in.ID, job.Running)
}

func TestAReportOfAnOldGenerationCountsForNothing(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n.connect(t, o)
	in := o.deploy(testJob())
	as := n.assignment(t, in.ID)
	as.Generation--
	n.report(t, as, job.Running)
	if got := o.Instance(in.ID).State; got != job.ScheduledNode {
		t.Errorf("state is %s", got)
	}
}

func TestAChildThatLostItsMemoryIsBelieved(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n.connect(t, o)
	in := o.deploy(testJob())
	as := n.assignment(t, in.ID)
	n.report(t, as, job.ScheduledNode, job.Running)
	st := &pb.InstanceStatus{
		InstanceId: in.ID, Generation: as.GetGeneration(), Incarnation: 2, State: string(job.ScheduledNode),
		Changes: []*pb.Change{{Seq: 1, State: string(job.ScheduledNode)}},
	}
	if _, err := n.parent.ReportStatus(t.Context(), &pb.ReportStatusRequest{Statuses: []*pb.InstanceStatus{st}}); err != nil {
		t.Fatal(err)
	}
	if got := o.Instance(in.ID).State; got != job.ScheduledNode {
		t.Errorf("state is %s", got)
	}
}

func TestStateSurvivesARestart(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	st := store.Memory()
	o := start(t, a, Config{Store: st})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n.connect(t, o)
	in := o.deploy(testJob())
	as := n.assignment(t, in.ID)
	n.report(t, as, job.ScheduledNode, job.Running)
	before := dump(o.Instance(in.ID))
	o.stop()
	revision := o.revision

	again := start(t, a, Config{Store: st})
	if after := dump(again.Instance(in.ID)); after != before {
		t.Errorf("after a restart:\n%s\nbefore:\n%s", after, before)
	}
	again.mu.RLock()
	present := again.revision
	again.mu.RUnlock()
	if present != revision {
		t.Errorf("revision %d after a restart, %d before", present, revision)
	}
	n.connect(t, again)
	n.assignment(t, in.ID)
}

func TestIdempotencyKey(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{})
	first, err := o.Deploy(t.Context(), testJob(), "me", "k1")
	if err != nil {
		t.Fatal(err)
	}
	second, err := o.Deploy(t.Context(), testJob(), "me", "k1")
	if err != nil || second.ID != first.ID {
		t.Errorf("second deploy: %v, %v", second, err)
	}
	other, err := o.Deploy(t.Context(), testJob(), "somebody else", "k1")
	if err != nil || other.ID == first.ID {
		t.Errorf("deploy of another owner: %v, %v", other, err)
	}
	_, err = o.Deploy(t.Context(), testJob(func(j *job.Job) { j.Name = "other" }), "me", "k1")
	if !errors.Is(err, link.Conflict) {
		t.Errorf("another job under the same key: %v", err)
	}
}

// failingStore fails writes on demand.
type failingStore struct {
	store.Store
	fail atomic.Bool
}

func (s *failingStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	if s.fail.Load() {
		return errors.New("no space left on device")
	}
	return s.Store.Update(ctx, fn)
}

func TestWhatCannotBeStoredDoesNotHappen(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	st := &failingStore{Store: store.Memory()}
	o := start(t, a, Config{Store: st})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n.connect(t, o)
	st.fail.Store(true)
	_, err := o.Deploy(t.Context(), testJob(), "me", "")
	if !errors.Is(err, link.Unavailable) || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("deploy on a full disk: %v", err)
	}
	if jobs := o.Jobs(); len(jobs) != 0 {
		t.Errorf("a job that is not stored is listed: %s", dump(jobs))
	}
	st.fail.Store(false)
	in := o.deploy(testJob())
	n.assignment(t, in.ID)
}

func TestWatchResumes(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n.connect(t, o)
	in := o.deploy(testJob())
	var seen []uint64
	collect := func(ev Event) error { seen = append(seen, ev.Revision); return nil }
	if err := o.Watch(t.Context(), EventQuery{JobID: in.JobID}, collect); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 {
		t.Fatalf("events: %v", seen)
	}
	n.report(t, n.assignment(t, in.ID), job.Running)
	last := seen[1]
	seen = nil
	if err := o.Watch(t.Context(), EventQuery{JobID: in.JobID, After: last}, collect); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 1 || seen[0] <= last {
		t.Errorf("after %d came %v", last, seen)
	}
}

func TestANodeThatLeavesHandsItsInstancesOver(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{})
	n1 := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n2 := newChild(t, a, identity.Node, "n2", nodeOffer(2))
	n1.connect(t, o)
	n2.connect(t, o)
	in := o.deploy(testJob())
	as := n1.assignment(t, in.ID)
	n1.report(t, as, job.ScheduledNode, job.Running)
	if _, err := n1.parent.Leave(t.Context(), &pb.LeaveRequest{}); err != nil {
		t.Fatal(err)
	}
	moved := n2.assignment(t, in.ID)
	if moved.GetGeneration() <= as.GetGeneration() {
		t.Errorf("generation %d does not fence %d off", moved.GetGeneration(), as.GetGeneration())
	}
	n1.without(t, in.ID)
}

func TestAQuestionWaitsUntilTheChildKnowsTheInstance(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n.connect(t, o)
	n.mu.Lock() // holds Apply up
	in := o.deploy(testJob())
	if o.untold(in) == nil {
		t.Fatal("the child is believed to know an instance that it was not told of")
	}
	asked := make(chan error, 1)
	go func() {
		_, err := o.holderOf(t.Context(), in.ID)
		asked <- err
	}()
	n.mu.Unlock()
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	if o.untold(in) != nil {
		t.Error("the question did not wait")
	}
}

func TestWhatHasEndedIsNotBegunAnew(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n.connect(t, o)
	in := o.deploy(testJob(func(j *job.Job) { j.Kind = job.Batch }))
	as := n.assignment(t, in.ID)
	if as.GetEnded() {
		t.Error("an instance that has not begun is said to have ended")
	}
	n.report(t, as, job.ScheduledNode, job.Running, job.Completed)
	n.disconnect()
	n.mu.Lock()
	clear(n.held)
	n.mu.Unlock()
	n.connect(t, o)
	if as := n.assignment(t, in.ID); !as.GetEnded() {
		t.Error("an instance that has ended is given out as if it had not")
	}
}
