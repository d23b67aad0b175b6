package workload_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
	"github.com/edgeio/edgeio/proto/job"
)

// act is one thing that happens to a node.
type act struct {
	what string
	id   string
	n    int
}

func (a act) String() string { return fmt.Sprintf("%s %s %d", a.what, a.id, a.n) }

var acts = rapid.Custom(func(t *rapid.T) act {
	return act{
		what: rapid.SampledFrom([]string{
			"put", "put", "put", "remove", "end", "end", "wait", "wait", "restart", "kill", "kill", "reboot",
			"down", "up", "fault", "acknowledge", "snapshot",
		}).Draw(t, "what"),
		id: fmt.Sprintf("i%d", rapid.IntRange(0, 3).Draw(t, "id")),
		n:  rapid.IntRange(0, 20).Draw(t, "n"),
	}
})

// TestRandomLife lets anything happen in any order and checks all the while
// that no instance runs twice, and at the end that what runs is what is wanted.
func TestRandomLife(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := rapid.SliceOfN(acts, 10, 120).Draw(rt, "acts")
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = live(t, script) })
		if problem != "" {
			rt.Fatalf("%s\nafter %v", problem, script)
		}
	})
}

func live(t *testing.T, script []act) string {
	n := newNode(t, nil)
	wanted := map[string]uint64{}
	newest := map[string]uint64{}
	for i, a := range script {
		switch a.what {
		case "put":
			if a.n%3 > 0 || newest[a.id] == 0 {
				newest[a.id]++
			}
			if _, ok := wanted[a.id]; ok || newest[a.id] > 0 {
				wanted[a.id] = newest[a.id]
			}
			if ans := n.apply(workload.Batch{Put: []workload.Assignment{assign(a.id, newest[a.id])}}); len(ans.Refusals) > 0 {
				delete(wanted, a.id) // the runtime is down
			}
		case "remove":
			delete(wanted, a.id)
			n.apply(workload.Batch{Remove: []string{a.id}})
			newest[a.id]++ // a parent never brings the same generation back
		case "end":
			n.host.End(a.id, newest[a.id], drivers.Exit{Code: a.n % 2})
		case "wait":
			time.Sleep(time.Duration(a.n) * 300 * time.Millisecond)
		case "restart":
			n.stop()
			n.start()
		case "kill":
			n.kill()
			n.start()
		case "reboot":
			n.kill()
			n.host.Reboot()
			n.boot = fmt.Sprintf("boot-%d", i+2)
			n.start()
		case "down":
			n.host.Down("the daemon is stopped", "start it")
		case "up":
			n.host.Up()
		case "fault":
			op := []fake.Op{fake.OpCreate, fake.OpStart, fake.OpStop, fake.OpRemove, fake.OpStatus, fake.OpWait, fake.OpList}[a.n%7]
			n.host.Inject(op, fake.Fault{Delay: 50 * time.Millisecond, Err: drivers.Errorf(drivers.ErrUnavailable, "do", a.id, "injected"), Times: 1 + a.n%3})
		case "acknowledge":
			n.acknowledge()
		case "snapshot":
			n.apply(workload.Batch{Keep: keys(wanted)})
			for id := range newest {
				if _, ok := wanted[id]; !ok {
					newest[id]++
				}
			}
		}
		if p := twice(t, n); p != "" {
			return p
		}
	}
	n.host.Up()
	time.Sleep(time.Minute)
	var put []workload.Assignment
	for id, g := range wanted {
		put = append(put, assign(id, g))
	}
	n.apply(workload.Batch{Put: put, Keep: keys(wanted)})
	time.Sleep(30 * time.Minute)
	return settled(t, n, wanted)
}

func keys(m map[string]uint64) map[string]struct{} {
	out := map[string]struct{}{}
	for k := range m {
		out[k] = struct{}{}
	}
	return out
}

// running lists the instances that run, by the runtime itself.
func running(t *testing.T, n *node) []string {
	n.host.Up()
	for _, op := range []fake.Op{fake.OpList, fake.OpStatus} {
		n.host.Clear(op)
	}
	d := fake.New(n.host)
	hs, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, h := range hs {
		if st, err := d.Status(t.Context(), h); err == nil && st.Phase == drivers.PhaseRunning {
			out = append(out, fmt.Sprintf("%s/%d", h.ID, h.Generation))
		}
	}
	return out
}

func twice(t *testing.T, n *node) string {
	seen := map[string]string{}
	d := fake.New(n.host)
	hs, err := d.List(t.Context())
	if err != nil {
		return "" // it is down
	}
	for _, h := range hs {
		st, err := d.Status(t.Context(), h)
		if err != nil || st.Phase != drivers.PhaseRunning {
			continue
		}
		if other, ok := seen[h.ID]; ok {
			return fmt.Sprintf("%s runs twice: generations %d and %s", h.ID, h.Generation, other)
		}
		seen[h.ID] = fmt.Sprint(h.Generation)
	}
	return ""
}

func settled(t *testing.T, n *node, wanted map[string]uint64) string {
	n.acknowledge()
	n.acknowledge()
	synctest.Wait()
	got := map[string]bool{}
	for _, r := range running(t, n) {
		got[r] = true
	}
	for id, g := range wanted {
		in := n.instance(id)
		if in.State != job.Running || !got[fmt.Sprintf("%s/%d", id, g)] {
			return fmt.Sprintf("%s/%d is %s in phase %s (%s), the runtime runs %v", id, g, in.State, in.Phase, in.Note, got)
		}
		delete(got, fmt.Sprintf("%s/%d", id, g))
	}
	if len(got) > 0 {
		return fmt.Sprintf("the runtime runs %v, which nobody wants", got)
	}
	if left := len(n.workloads()) - len(wanted); left != 0 {
		return fmt.Sprintf("%d workloads are left over: %s", left, strings.Join(n.workloads(), " "))
	}
	if all := n.Instances(); len(all) != len(wanted) {
		return fmt.Sprintf("%d instances are kept, %d are wanted", len(all), len(wanted))
	}
	return ""
}
