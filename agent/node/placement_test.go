package node_test

import (
	"strings"
	"testing"

	"github.com/edgeio/edgeio/agent/node"
	"github.com/edgeio/edgeio/agent/uplink/uplinktest"
	"github.com/edgeio/edgeio/capabilities"
	"github.com/edgeio/edgeio/drivers/fake"
	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/job"
)

// TestAParentLearnsWhatANodeIs from the report of a machine with two GPUs to
// the offer after a job has one of them.
func TestAParentLearnsWhatANodeIs(t *testing.T) {
	p := uplinktest.New(t)
	a := newAgent(t, p, fake.NewHost(nil))
	machine, err := node.MachineOf(capabilities.Report{
		Arch: "amd64", BootID: "boot", CPU: capabilities.CPU{Cores: 4}, Memory: capabilities.Memory{TotalBytes: 8e9}, Disk: capabilities.Disk{FreeBytes: 100e9},
		Board: capabilities.Board{ID: "jetson-agx-xavier"},
		Devices: []capabilities.Device{
			{ID: "gpu-a", Kind: capabilities.GPU, Vendor: "NVIDIA", Model: "A", MemoryBytes: 8e9, Paths: []string{"/dev/nvidia0"}},
			{ID: "gpu-b", Kind: capabilities.GPU, Vendor: "NVIDIA", Model: "A", MemoryBytes: 8e9, Paths: []string{"/dev/nvidia1"}},
			{ID: "camera-a", Kind: capabilities.Camera, Paths: []string{"/dev/video0"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.parts.Machine = machine
	a.cfg.Labels, a.cfg.Taints, a.cfg.Devices.Shared = map[string]string{"rack": "4"}, []string{"gpu=only"}, []string{"camera"}
	a.start()
	p.Until("registered", func() bool { return p.Registered != nil && p.Revision > 0 })
	if l := p.Registered.GetLabels(); l["rack"] != "4" || l["edgeio.dev/board"] != "jetson-agx-xavier" || l["edgeio.dev/gpu-count"] != "2" {
		t.Errorf("labels %v", l)
	}
	fit := p.Registered.GetOffer().GetFits()[0]
	if len(fit.GetTaints()) != 1 || fit.GetTaints()[0].GetEffect() != "no_schedule" {
		t.Errorf("taints %v", fit.GetTaints())
	}
	if d := fit.GetDevices(); len(d) != 2 || d[0].GetCount() != 2 || strings.Join(d[0].GetNames(), " ") != "gpu-a /dev/nvidia0 gpu-b /dev/nvidia1" || !d[1].GetShared() {
		t.Errorf("devices %v", d)
	}

	tolerant := func(j *job.Job) {
		j.Tolerations = []job.Toleration{{Key: "gpu"}}
		j.Constraints = []job.Constraint{{Label: "edgeio.dev/board", Operator: job.In, Values: []string{"jetson-agx-xavier"}}}
		j.Requirements.GPU = job.Accelerator{Count: 1, Vendor: "nvidia", Memory: 4000}
		j.Requirements.Devices = []job.DeviceRequest{{Path: "/dev/video0", Count: 1}}
	}
	resp := p.Apply([]*edgeiov1.Assignment{assignment("a", 1, tolerant), assignment("b", 1)})
	if r := resp.GetRefusals(); len(r) != 1 || r[0].GetInstanceId() != "b" || !strings.Contains(r[0].GetReason(), "gpu=only:no_schedule") {
		t.Errorf("refusals %v", r)
	}
	if d := resp.GetOffer().GetFits()[0].GetDevices(); len(d) != 2 || d[0].GetCount() != 1 || strings.Join(d[0].GetNames(), " ") != "gpu-b /dev/nvidia1" {
		t.Errorf("after that, devices %v", d)
	}
	p.UntilState("a", "RUNNING")
}
