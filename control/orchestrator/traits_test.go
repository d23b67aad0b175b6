package orchestrator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/placement"
)

// TestJobsGoWhereTheirDevicesAre has one GPU below one of two nodes: one job
// gets it, and the next one learns why there is none for it.
func TestJobsGoWhereTheirDevicesAre(t *testing.T) {
	o := start(t, identitytest.NewAuthority(t, time.Now()), Config{DanglingAfter: 50 * time.Millisecond})
	plain := newChild(t, o.authority, identity.Node, "a-plain", nodeOffer(4))
	plain.connect(t, o)
	with := nodeOffer(4)
	with.Fits[0].Devices = []*pb.Devices{{Kind: "gpu", Vendor: "NVIDIA", Count: 1, Names: []string{"gpu-0", "/dev/nvidia0"}}}
	gpu := newChild(t, o.authority, identity.Node, "b-gpu", with)
	gpu.labels = map[string]string{"zone": "b"}
	gpu.runtimes = []*pb.Runtime{{Name: "native", Usable: true, Version: "2.1", Features: []string{"devices", "exec"}}}
	gpu.connect(t, o)

	first := o.deploy(testJob(func(j *job.Job) { j.Name, j.Requirements.GPU = "first", job.Accelerator{Vendor: "nvidia"} }))
	gpu.assignment(t, first.ID)
	second := o.deploy(testJob(func(j *job.Job) { j.Name, j.Requirements.GPU.Count = "second", 1 }))
	in := o.await(second.ID, job.NotDeployable)
	for _, r := range in.Rejections {
		if r.Reason != "has no gpu free" {
			t.Errorf("%s: %s", r.Name, r.Reason)
		}
	}
	third := o.deploy(testJob(func(j *job.Job) { j.Name, j.Constraints = "third", []job.Constraint{{Label: "zone"}} }))
	gpu.assignment(t, third.ID)
	fourth := o.deploy(testJob(func(j *job.Job) { j.Name, j.Affinities = "fourth", []job.Affinity{{Label: "zone", Weight: -5}} }))
	plain.assignment(t, fourth.ID)
	fifth := o.deploy(testJob(func(j *job.Job) {
		j.Name, j.Requirements.RuntimeVersion = "fifth", "3"
		j.WorkerNode = "b-gpu"
	}))
	in = o.await(fifth.ID, job.NotDeployable)
	if !strings.Contains(fmt.Sprint(in.Rejections), "its version is 2.1") {
		t.Errorf("rejections %v", in.Rejections)
	}

	// What a parent of this orchestrator would learn.
	offer := o.Offer()
	if got := strings.Join(offer.GetLabels(), " "); got != "zone=b" || offer.GetLabelsTruncated() {
		t.Errorf("labels %q", got)
	}
	if r := offer.GetRuntimes(); len(r) != 1 || r[0].GetVersion() != "2.1" {
		t.Errorf("runtimes %v", r)
	}
	gpu.disconnect()
	o.await(third.ID, job.Dangling)
	if l := o.Offer().GetLabels(); len(l) > 0 {
		t.Errorf("labels of a node that is away: %v", l)
	}
}

func TestLabelsOfManyNodesAreBounded(t *testing.T) {
	labels := map[string]map[string]struct{}{"rare": {"x": {}}, "zone": {"a": {}, "b": {}}, "serial": {}}
	for i := range 5000 {
		labels["serial"][fmt.Sprintf("%08d", i)] = struct{}{}
	}
	g := &gathered{}
	g.takeLabels(labels)
	if len(g.labels) > maxLabels || !g.truncated {
		t.Errorf("%d labels, truncated: %v", len(g.labels), g.truncated)
	}
	l := &live{offer: &pb.Offer{Labels: g.labels, LabelsTruncated: g.truncated}}
	traits := l.traitsOf(&Child{Kind: "cluster"})
	for _, k := range []job.Constraint{{Label: "rare", Values: []string{"x"}}, {Label: "zone", Values: []string{"b"}}, {Label: "serial", Values: []string{"00004999"}}} {
		if reason := traits.Unmet(k); reason != "" {
			t.Errorf("rejected although it is there: %s", reason)
		}
	}
}

func TestTheBestOfSeveralRuntimes(t *testing.T) {
	var r pb.Runtime
	for _, v := range []string{"20.10.5", "24.0.2+dfsg", "19.03"} {
		best(&r, placement.Runtime{Version: v, Features: []string{"exec", v}})
	}
	if r.GetVersion() != "24.0.2+dfsg" || len(r.GetFeatures()) != 4 {
		t.Errorf("%v", &r)
	}
}
