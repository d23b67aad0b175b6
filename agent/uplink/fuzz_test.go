package uplink

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
	"github.com/edgeio/edgeio/proto/job"
)

// recorder takes what an Apply comes to.
type recorder struct {
	Workloads
	last workload.Batch
}

type anyNews = News // so that the embedded field does not hide the method

// offering offers, and has no news.
type offering struct{ anyNews }

func (offering) Offer() workload.Offer {
	return workload.Offer{Runtimes: []drivers.Info{{Name: "native"}}}
}

func (r *recorder) Apply(_ context.Context, b workload.Batch) (workload.Answer, error) {
	r.last = b
	return workload.Answer{}, nil
}
func (r *recorder) Has(string) bool           { return false }
func (r *recorder) Refusals(job.Job) []string { return nil }

// Whatever a parent sends, each assignment is either taken with a job that can
// be read, refused, or passed over because it has ended.
func FuzzApply(f *testing.F) {
	seed, err := proto.Marshal(&edgeiov1.ApplyRequest{
		Revision: 1, SnapshotBegin: true, SnapshotEnd: true, Remove: []string{"x"},
		Assignments: []*edgeiov1.Assignment{
			{InstanceId: "a-0", Generation: 1, Job: []byte(`{"job_name":"a","image_runtime":"native","ports":[{"port":80}]}`)},
			{InstanceId: "b-0", Generation: 1, Job: []byte(`{`)},
			{InstanceId: "c-0", Ended: true},
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	id := identitytest.NewAuthority(f, time.Now()).Enrol(f, identity.Node, "n", time.Now())
	f.Fuzz(func(t *testing.T, wire []byte) {
		req := new(edgeiov1.ApplyRequest)
		if proto.Unmarshal(wire, req) != nil {
			return
		}
		r := &recorder{}
		c := newChild(&Uplink{cfg: Config{Workloads: r, News: offering{}, Identity: id}})
		resp, err := c.Apply(t.Context(), req)
		if err != nil {
			return
		}
		ended := 0
		for _, a := range req.GetAssignments() {
			if a.GetEnded() {
				ended++
			}
		}
		if got := len(r.last.Put) + len(resp.GetRefusals()) + ended; got != len(req.GetAssignments()) {
			t.Errorf("%d of %d assignments are accounted for", got, len(req.GetAssignments()))
		}
	})
}
