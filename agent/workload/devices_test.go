package workload_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
	"github.com/edgeio/edgeio/proto/job"
)

func device(id, kind, vendor string, paths ...string) workload.HostDevice {
	return workload.HostDevice{Device: drivers.Device{ID: id, Kind: kind, Vendor: vendor, Paths: paths}}
}

func gpus(n int) func(*job.Job) { return func(j *job.Job) { j.Requirements.GPU.Count = n } }

// newDeviceNode is a node with two GPUs of different vendors and a shared camera.
func newDeviceNode(t *testing.T, script func(drivers.Spec) fake.Script) *node {
	n := newNode(t, script)
	camera := device("camera-0", "camera", "", "/dev/video0")
	camera.Shared = true
	n.devices = []workload.HostDevice{device("gpu-0", "gpu", "Intel", "/dev/dri/card0"), device("gpu-1", "gpu", "NVIDIA", "/dev/nvidia0"), camera}
	n.SetDevices(n.devices)
	return n
}

// refusal is why the node does not take an assignment.
func (n *node) refusal(as workload.Assignment) string {
	n.t.Helper()
	a := n.apply(workload.Batch{Put: []workload.Assignment{as}})
	if len(a.Refusals) == 0 {
		return ""
	}
	return a.Refusals[0].Reason
}

// has lists the devices that an instance was given.
func (n *node) has(id string) string {
	var ids []string
	for _, d := range n.instance(id).Devices {
		ids = append(ids, d.ID)
	}
	return strings.Join(ids, " ")
}

func TestDevicesAreAllottedToOneInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		specs := make(chan drivers.Spec, 10)
		n := newDeviceNode(t, func(s drivers.Spec) fake.Script {
			specs <- s
			return fake.Script{Forever: true}
		})
		n.put(assign("a", 1, gpus(1)))
		n.wantState("a", job.Running)
		if s := <-specs; len(s.Devices) != 1 || s.Devices[0].ID != "gpu-0" || !slices.Equal(s.Devices[0].Paths, []string{"/dev/dri/card0"}) {
			t.Errorf("the driver was given %+v", s.Devices)
		}
		if got := n.refusal(assign("b", 1, gpus(2))); got != "its gpu is in use by another job" {
			t.Errorf("two GPUs where one is left: %q", got)
		}
		if got := n.refusal(assign("b", 1, gpus(3))); got != "it has no gpu" {
			t.Errorf("three GPUs where there are two: %q", got)
		}
		if got := n.refusal(assign("b", 1, func(j *job.Job) { j.Requirements.Devices = []job.DeviceRequest{{Path: "/dev/dri/card0"}} })); got != "its device /dev/dri/card0 is in use by another job" {
			t.Errorf("by path: %q", got)
		}
		camera := func(j *job.Job) { j.Requirements.Devices = []job.DeviceRequest{{Kind: "camera"}} }
		n.put(assign("c", 1, gpus(1), camera), assign("d", 1, camera))
		if got := n.has("c"); got != "gpu-1 camera-0" {
			t.Errorf("c has %s", got)
		}
		if got := n.has("d"); got != "camera-0" {
			t.Errorf("d has %s", got)
		}
		if o := n.Offer(); len(o.Devices) != 1 || o.Devices[0].Kind != "camera" {
			t.Errorf("the offer has %v", o.Devices)
		}

		// What it was given is known after a restart, also if it is unplugged.
		synctest.Wait()
		n.kill()
		n.devices = n.devices[1:]
		n.start()
		n.wantState("a", job.Running)
		if got := n.has("a"); got != "gpu-0" {
			t.Errorf("after a restart a has %s", got)
		}
		n.SetDevices(append(n.devices, device("gpu-0", "gpu", "Intel", "/dev/dri/card0")))
		if got := n.refusal(assign("b", 1, gpus(1))); got == "" {
			t.Error("a GPU was given away twice")
		}
		n.apply(workload.Batch{Remove: []string{"a"}})
		n.wantState("a", job.Terminated)
		n.put(assign("b", 1, gpus(1)))
		if got := n.has("b"); got != "gpu-0" {
			t.Errorf("b has %s", got)
		}
		n.host.End("b", 1, drivers.Exit{})
	})
}

func TestDevicesAreFreeWhenABatchJobHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newDeviceNode(t, nil)
		n.put(assign("a", 1, gpus(2), func(j *job.Job) { j.Kind = job.Batch }))
		n.wantState("a", job.Running)
		n.host.End("a", 1, drivers.Exit{})
		n.wantState("a", job.Completed)
		n.put(assign("b", 1, gpus(2)))
		n.wantState("b", job.Running)
	})
}

// TestANewGenerationWaitsForTheOldOne: while the old workload is stopping,
// what it has is nobody else's.
func TestANewGenerationWaitsForTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newDeviceNode(t, nil)
		n.put(assign("a", 1, gpus(2)))
		n.wantState("a", job.Running)
		n.put(assign("a", 2))
		if got := n.refusal(assign("b", 1, gpus(1))); got != "its gpu is in use by another job" {
			t.Errorf("refusal: %q", got)
		}
		n.wantState("a", job.Running)
		n.put(assign("b", 1, gpus(2)))
		n.wantState("b", job.Running)
	})
}

func TestAdmissionChecksWhatTheNodeIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		n.labels = map[string]string{"zone": "b"}
		n.taints = []job.Taint{{Key: "spare", Effect: job.NoSchedule}}
		n.stop()
		n.start()
		ok := func(j *job.Job) { j.Tolerations = []job.Toleration{{Key: "spare"}} }
		for _, tt := range []struct {
			name, want string
			change     func(*job.Job)
		}{
			{"all is well", "", func(j *job.Job) {
				ok(j)
				j.Constraints = []job.Constraint{{Label: "zone", Operator: job.In, Values: []string{"a", "b"}}}
				j.Requirements.RuntimeVersion, j.Requirements.Features = "1", []string{"stats"}
			}},
			{"a taint", "it has the taint spare:no_schedule, which the job does not tolerate", func(*job.Job) {}},
			{"a label", "it does not meet the constraint zone=a: its label is zone=b", func(j *job.Job) {
				ok(j)
				j.Constraints = []job.Constraint{{Label: "zone", Operator: job.In, Values: []string{"a"}}}
			}},
			{"a version", "it has no runtime fake of version 2.1 or higher: its version is 1", func(j *job.Job) { ok(j); j.Requirements.RuntimeVersion = "2.1" }},
			{"a feature", "it has no runtime fake with the feature tty", func(j *job.Job) { ok(j); j.Requirements.Features = []string{"tty"} }},
			{"a device", "it has no npu of hailo", func(j *job.Job) { ok(j); j.Requirements.NPU.Vendor = "hailo" }},
		} {
			j := job.Job{APIVersion: job.APIVersion, Name: "test", Image: "image", Runtime: "fake"}
			tt.change(&j)
			if got := strings.Join(n.Refusals(j), "; "); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
	})
}

// TestNoDeviceIsGivenTwice does at random what a parent can do.
func TestNoDeviceIsGivenTwice(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		ids := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		type act struct {
			id     string
			gpus   int
			remove bool
		}
		acts := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) act {
			return act{ids.Draw(r, "id"), rapid.IntRange(0, 2).Draw(r, "gpus"), rapid.Bool().Draw(r, "remove")}
		}), 1, 20).Draw(r, "acts")
		synctest.Test(t, func(t *testing.T) {
			n := newDeviceNode(t, nil)
			for i, a := range acts {
				if a.remove {
					n.apply(workload.Batch{Remove: []string{a.id}})
				} else {
					n.apply(workload.Batch{Put: []workload.Assignment{assign(a.id, uint64(i+1), gpus(a.gpus))}})
				}
				if i%2 == 0 {
					synctest.Wait()
				}
				owner := map[string]string{}
				for _, in := range n.Instances() {
					for _, d := range slices.Concat(in.Devices, in.Held) {
						if other, twice := owner[d.ID]; in.Active() && twice && other != in.ID {
							t.Fatalf("%s belongs to %s and %s", d.ID, other, in.ID)
						}
						if in.Active() {
							owner[d.ID] = in.ID
						}
					}
				}
			}
			n.stop()
		})
	})
}
