package orchestrator

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/edgeio/edgeio/control/scheduler"
	"github.com/edgeio/edgeio/control/store"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
)

// fuzzCore is a core without a network that runs until the fuzzing is over.
func fuzzCore(f *testing.F, tier Tier) *Core {
	f.Helper()
	core, err := New(f.Context(), Config{
		Tier: tier, ID: "x", Name: "fuzz", Store: store.Memory(), Strategy: scheduler.FirstFit, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() { _ = core.Run(ctx) })
	f.Cleanup(func() { cancel(); wait.Wait() })
	return core
}

// addMessage seeds with a message in its wire form.
func addMessage(f *testing.F, m proto.Message) {
	f.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
}

// Whatever a parent sends, the core answers or refuses, and all of its
// histories stay legal.
func FuzzApply(f *testing.F) {
	core := fuzzCore(f, Cluster)
	addMessage(f, &pb.ApplyRequest{Revision: 1, SnapshotBegin: true, SnapshotEnd: true, Assignments: []*pb.Assignment{
		{InstanceId: "a-0", Generation: generationStep, JobId: "a", Job: []byte(`{"job_name":"a","image_runtime":"native"}`)},
		{InstanceId: "b-0", Generation: 1, Job: []byte(`{`)},
		{InstanceId: "c-0", Generation: ^uint64(0), Ended: true},
	}})
	addMessage(f, &pb.ApplyRequest{Revision: 2, BaseRevision: 1, Remove: []string{"a-0", "", "x"}})
	f.Fuzz(func(t *testing.T, wire []byte) {
		req := new(pb.ApplyRequest)
		if proto.Unmarshal(wire, req) != nil {
			return
		}
		a := core.Assignments()
		for range 2 { // the second time on the ground that the first has made
			resp, err := a.Apply(t.Context(), req)
			if err == nil && resp.GetOffer() == nil {
				t.Error("an answer without an offer")
			}
		}
	})
}

// Whatever a child reports, what it reports of is in a state that the table
// allows, and instances of others are untouched.
func FuzzReport(f *testing.F) {
	core := fuzzCore(f, Root)
	mine := &Instance{ID: "a-0", JobID: "a", ChildID: "n-mine", Generation: generationStep, Spec: []byte(`{"job_name":"a"}`), Desired: DesiredRunning}
	others := &Instance{ID: "b-0", JobID: "b", ChildID: "n-other", Generation: generationStep, Spec: []byte(`{"job_name":"b"}`), Desired: DesiredRunning}
	begin := func() {
		err := core.do(context.Background(), func(tx *txn) error {
			for _, in := range []*Instance{mine, others} {
				fresh := *in
				if err := fresh.parse(); err != nil {
					return err
				}
				fresh.State = job.ScheduledNode
				tx.setInstance(&fresh)
			}
			return nil
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	addMessage(f, &pb.ReportStatusRequest{Statuses: []*pb.InstanceStatus{{
		InstanceId: "a-0", Generation: generationStep, Incarnation: 1, State: "RUNNING",
		Changes: []*pb.Change{{Seq: 1, State: "RUNNING"}, {Seq: 9, State: "nonsense"}, {Seq: 2, State: "FAILED", Exit: &pb.Exit{Code: 1}}},
	}, {InstanceId: "b-0", Generation: generationStep, State: "FAILED", Changes: []*pb.Change{{Seq: 1, State: "FAILED"}}}}})
	f.Fuzz(func(t *testing.T, wire []byte) {
		req := new(pb.ReportStatusRequest)
		if proto.Unmarshal(wire, req) != nil {
			return
		}
		begin()
		if err := core.takeReport(t.Context(), "n-mine", req.GetStatuses()); err != nil {
			t.Log(err)
		}
		if in := core.Instance("a-0"); in != nil && !in.State.Valid() {
			t.Errorf("a report brought state %q", in.State)
		}
		if in := core.Instance("b-0"); in.State != job.ScheduledNode {
			t.Errorf("a report about another's instance made it %s", in.State)
		}
	})
}
