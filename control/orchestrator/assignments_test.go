package orchestrator

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

func assign(t *testing.T, id string, generation uint64, j *job.Job) *pb.Assignment {
	t.Helper()
	spec, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	return &pb.Assignment{InstanceId: id, Generation: generation, JobId: "j", Job: spec}
}

func snapshot(revision uint64, as ...*pb.Assignment) *pb.ApplyRequest {
	return &pb.ApplyRequest{Revision: revision, SnapshotBegin: true, SnapshotEnd: true, Assignments: as}
}

func TestClusterPlacesWhatItsParentAssigns(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{Tier: Cluster})
	n := newChild(t, a, identity.Node, "e580", nodeOffer(2))
	n.connect(t, o)
	// The wish for the cluster is fulfilled, that for the node is not.
	wish := testJob(func(j *job.Job) { j.ClusterLocation, j.WorkerNode = "Garching", "e580" })
	parent := o.Assignments()
	resp, err := parent.Apply(t.Context(), snapshot(1, assign(t, "j-0", generationStep, wish)))
	if err != nil || len(resp.GetRefusals()) != 0 {
		t.Fatalf("apply: %v, %v", resp, err)
	}
	if free := resp.GetOffer().GetFits()[0].GetFree().GetCpuMillis(); free != 1000 {
		t.Errorf("%d millicores are free after placing 1 core of 2", free)
	}
	as := n.assignment(t, "j-0")
	if as.GetGeneration() != generationStep+1 {
		t.Errorf("generation below is %d", as.GetGeneration())
	}
	n.report(t, as, job.ScheduledNode, job.Running)
	o.await("j-0", job.Running)

	st := o.Outbox(10)
	if len(st) != 1 || st[0].GetGeneration() != generationStep || st[0].GetState() != string(job.Running) {
		t.Fatalf("outbox: %v", st)
	}
	if got := len(st[0].GetChanges()); got != 3 {
		t.Errorf("%d changes for the parent, want REQUESTED, SCHEDULED_NODE, RUNNING", got)
	}
	o.OutboxAcked(st)
	if _, err := parent.Apply(t.Context(), &pb.ApplyRequest{BaseRevision: 1, Revision: 2, Remove: []string{"j-0", "unknown"}}); err != nil {
		t.Fatal(err)
	}
	n.without(t, "j-0")
	n.report(t, as, job.Terminated)
	o.await("j-0", job.Terminated)
	st = o.Outbox(10)
	o.OutboxAcked(st)
	// The next command finds it forgotten.
	resp, err = parent.Apply(t.Context(), &pb.ApplyRequest{BaseRevision: 2, Revision: 3, Remove: []string{"j-0"}})
	if err != nil || len(resp.GetAbsent()) != 1 {
		t.Errorf("after its end: %v, %v", resp, err)
	}
}

func TestClusterRefusesWithReasons(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{Tier: Cluster})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n.connect(t, o)
	big := testJob(func(j *job.Job) { j.Requirements.Memory = 5000 })
	resp, err := o.Assignments().Apply(t.Context(), snapshot(1, assign(t, "j-0", generationStep, big)))
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.GetRefusals()) != 1 || len(resp.GetRefusals()[0].GetRejections()) != 1 {
		t.Fatalf("refusals: %v", resp.GetRefusals())
	}
	if o.Instance("j-0") != nil {
		t.Error("a refused instance is kept")
	}
}

func TestApplyIsIdempotentAndNeedsItsBase(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{Tier: Cluster})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(2))
	n.connect(t, o)
	as := assign(t, "j-0", generationStep, testJob())
	parent := o.Assignments()
	if _, err := parent.Apply(t.Context(), &pb.ApplyRequest{Revision: 1, Assignments: []*pb.Assignment{as}}); !errors.Is(err, link.Conflict) {
		t.Errorf("a change before any snapshot: %v", err)
	}
	for range 2 {
		if _, err := parent.Apply(t.Context(), snapshot(5, as)); err != nil {
			t.Fatal(err)
		}
	}
	first := n.assignment(t, "j-0").GetGeneration()
	if _, err := parent.Apply(t.Context(), &pb.ApplyRequest{BaseRevision: 4, Revision: 6}); !errors.Is(err, link.Conflict) {
		t.Errorf("a change on the wrong base: %v", err)
	}
	if got := o.Instance("j-0").Generation; got != first {
		t.Errorf("applying again made generation %d of %d", got, first)
	}
	lower := assign(t, "j-0", generationStep-1, testJob())
	resp, err := parent.Apply(t.Context(), snapshot(7, lower))
	if err != nil || len(resp.GetRefusals()) != 1 {
		t.Errorf("an older generation: %v, %v", resp, err)
	}
	higher := assign(t, "j-0", 2*generationStep, testJob())
	if _, err := parent.Apply(t.Context(), snapshot(8, higher)); err != nil {
		t.Fatal(err)
	}
	if got := o.Instance("j-0").Generation; got != 2*generationStep+1 {
		t.Errorf("generation is %d after a newer assignment", got)
	}
}

func TestSnapshotInPartsEndsWhatItLacks(t *testing.T) {
	a := identitytest.NewAuthority(t, time.Now())
	o := start(t, a, Config{Tier: Cluster})
	n := newChild(t, a, identity.Node, "n1", nodeOffer(8))
	n.connect(t, o)
	parent := o.Assignments()
	var all []*pb.Assignment
	for _, id := range []string{"a-0", "b-0", "c-0"} {
		all = append(all, assign(t, id, generationStep, testJob()))
	}
	if _, err := parent.Apply(t.Context(), snapshot(1, all...)); err != nil {
		t.Fatal(err)
	}
	n.assignment(t, "c-0")
	parts := []*pb.ApplyRequest{
		{Revision: 2, SnapshotBegin: true, Assignments: all[:1]},
		{BaseRevision: 2, Revision: 3, SnapshotEnd: true, Assignments: all[1:2]},
	}
	for _, p := range parts {
		if _, err := parent.Apply(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]Desired{"a-0": DesiredRunning, "b-0": DesiredRunning, "c-0": DesiredTerminated} {
		if got := o.Instance(id).Desired; got != want {
			t.Errorf("%s is wanted %s, want %s", id, got, want)
		}
	}
	n.without(t, "c-0")
}
