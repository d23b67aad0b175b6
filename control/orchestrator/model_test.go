package orchestrator

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeio/edgeio/control/scheduler"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/job"
)

var (
	simSeeds = flag.Int("sim.seeds", 400, "how many random runs TestRandomRuns makes")
	simSeed  = flag.Uint64("sim.seed", 0, "the only random run to make")
)

// TestRandomRuns lets anything happen to a small tree, and then holds it to
// its promises. A run is told by its seed; goroutines may still run in another
// order, so one that fails rarely is to be repeated.
func TestRandomRuns(t *testing.T) {
	seeds := *simSeeds
	if testing.Short() {
		seeds = min(seeds, 100)
	}
	first := uint64(1)
	if *simSeed != 0 {
		first, seeds = *simSeed, 1
	}
	for seed := first; seed < first+uint64(seeds) && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) { newWorld(t, seed).run() })
	}
}

// world is a root with a cluster of two nodes and a node of its own.
type world struct {
	t       *testing.T
	seed    uint64
	dice    *dice
	faulty  atomic.Bool
	root    *simCore
	cluster *simCluster
	nodes   []*simNode
	jobs    []string
	trace   []string
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, seed: seed, dice: &dice{rng: rand.New(rand.NewPCG(seed, 0))}}
	w.faulty.Store(true)
	w.root = newSimCore(Root, "root")
	w.cluster = &simCluster{simCore: *newSimCore(Cluster, "muc"), parent: w.root, peer: identity.Peer{Kind: identity.Cluster, ID: "c-muc", Name: "muc"}}
	for i, name := range []string{"n1", "n2", "n3"} {
		parent := &w.cluster.simCore
		if i == 2 {
			parent = w.root
		}
		w.nodes = append(w.nodes, &simNode{
			peer: identity.Peer{Kind: identity.Node, ID: "n-" + name, Name: name}, parent: parent, held: map[string]*simInstance{},
			capacity: scheduler.Resources{CPUMillis: int64(1+w.dice.n(4)) * 1000, MemoryBytes: 4e9, DiskBytes: 4e9},
		})
	}
	w.must(w.root.start())
	w.must(w.cluster.start())
	return w
}

func (w *world) must(err error) {
	if err != nil {
		w.fail("%v", err)
	}
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	what := fmt.Sprintf(format, args...)
	var about []string
	for _, c := range []*Core{w.root.core, w.cluster.core} {
		for id, in := range c.instances.records {
			if !strings.Contains(what, id) {
				continue
			}
			events, _ := c.History(context.Background(), in.JobID)
			for _, ev := range events {
				about = append(about, fmt.Sprintf("%s: %s %s %s", c.cfg.Name, ev.Time.Format("04:05.000"), ev.State, ev.Reason))
			}
			about = append(about, c.cfg.Name+": "+mustJSON(in))
		}
	}
	w.t.Fatalf("seed %d: %s\nwhat happened:\n  %s\n%s", w.seed, what, strings.Join(w.trace, "\n  "), strings.Join(about, "\n"))
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *world) run() {
	defer w.stop()
	for range 20 + w.dice.n(60) {
		w.act()
		if w.dice.oneIn(2) {
			synctest.Wait()
		}
		w.checkOwners()
	}
	w.heal()
	w.settle()
	w.checkSettled()
	for _, id := range w.jobs {
		_, err := w.root.core.Terminate(context.Background(), id)
		w.must(err)
	}
	w.settle()
	w.checkEmpty()
	w.checkHistories()
}

func (w *world) stop() {
	for _, n := range w.nodes {
		n.disconnect()
	}
	w.cluster.disconnect()
	w.root.stop()
	w.cluster.stop()
}

// act does one random thing.
func (w *world) act() {
	n := w.nodes[w.dice.n(len(w.nodes))]
	switch k := w.dice.n(100); {
	case k < 16:
		w.deploy()
	case k < 22 && len(w.jobs) > 0:
		id := w.jobs[w.dice.n(len(w.jobs))]
		w.note("terminate %s", id)
		_, err := w.root.core.Terminate(context.Background(), id)
		w.must(err)
	case k < 34:
		n.step(w.dice)
	case k < 48:
		n.report()
	case k < 56:
		n.sendOffer()
	case k < 66:
		w.cluster.report(1 + w.dice.n(5))
	case k < 72:
		w.cluster.sendOffer()
	case k < 80:
		w.note("connect %s", n.peer.Name)
		w.must(n.connect(w.dice, &w.faulty))
	case k < 84:
		w.note("connect cluster")
		w.must(w.cluster.connect(w.dice, &w.faulty))
	case k < 87:
		w.note("disconnect %s", n.peer.Name)
		n.disconnect()
	case k < 89:
		w.note("disconnect cluster")
		w.cluster.disconnect()
	case k < 90:
		w.note("restart root")
		w.cluster.disconnect()
		w.nodes[2].disconnect()
		w.root.stop()
		w.must(w.root.start())
	case k < 91:
		w.note("restart cluster")
		w.restartCluster()
	case k < 93:
		n.mu.Lock()
		n.refuse = !n.refuse
		n.mu.Unlock()
		w.note("%s refuses: %v", n.peer.Name, n.refuse)
	case k < 94:
		w.note("%s loses its memory", n.peer.Name)
		n.disconnect()
		clear(n.held)
	case k < 95:
		w.leave(n)
	default:
		d := time.Duration(1+w.dice.n(15)) * time.Second
		w.note("sleep %s", d)
		time.Sleep(d)
	}
}

func (w *world) deploy() {
	j := testJob(func(j *job.Job) {
		j.Requirements.CPU = float64(1 + w.dice.n(3))
		switch w.dice.n(6) {
		case 0:
			j.WorkerNode = w.nodes[w.dice.n(3)].peer.Name
		case 1:
			j.ClusterLocation = "Garching"
		case 2:
			j.ClusterLocation = "Nowhere"
		}
	})
	stored, err := w.root.core.Deploy(context.Background(), j, "sim", "")
	w.must(err)
	w.note("deploy %s: %g cores, node %q, cluster %q", stored.ID, j.Requirements.CPU, j.WorkerNode, j.ClusterLocation)
	w.jobs = append(w.jobs, stored.ID)
}

func (w *world) restartCluster() {
	w.cluster.disconnect()
	w.nodes[0].disconnect()
	w.nodes[1].disconnect()
	w.cluster.stop()
	w.must(w.cluster.start())
}

func (w *world) leave(n *simNode) {
	if n.session == nil {
		return
	}
	w.note("%s leaves", n.peer.Name)
	w.must(n.parent.core.removeChild(context.Background(), n.peer.ID, ""))
	synctest.Wait()
	n.disconnect()
	clear(n.held) // what runs on a node that leaves is ended by the node
}

// heal ends all faults.
func (w *world) heal() {
	w.note("heal")
	w.faulty.Store(false)
	w.must(w.cluster.connect(w.dice, &w.faulty))
	for _, n := range w.nodes {
		n.mu.Lock()
		n.refuse = false
		n.mu.Unlock()
		w.must(n.connect(w.dice, &w.faulty))
	}
}

// settle lets all messages arrive until nothing changes any more.
func (w *world) settle() {
	for round := range 30 {
		time.Sleep(time.Second)
		if round == 20 {
			time.Sleep(lastRetry)
		}
		synctest.Wait()
		for _, n := range w.nodes {
			n.mu.Lock()
			for _, in := range n.held {
				if in.state == job.ScheduledNode {
					in.move(job.Running)
				}
			}
			n.mu.Unlock()
			n.report()
			n.sendOffer()
		}
		synctest.Wait()
		w.cluster.report(1000)
		w.cluster.sendOffer()
		synctest.Wait()
	}
}

// checkOwners: of one generation of an instance there is one owner.
func (w *world) checkOwners() {
	owners := map[string]string{}
	for _, n := range w.nodes {
		n.mu.Lock()
		for id, in := range n.held {
			key := fmt.Sprintf("%s/%x", id, in.as.GetGeneration())
			if other := owners[key]; other != "" {
				n.mu.Unlock()
				w.fail("%s is on %s and %s", key, other, n.peer.Name)
				return
			}
			owners[key] = n.peer.Name
		}
		n.mu.Unlock()
	}
}

// checkSettled: what is wanted is so, or says why not.
func (w *world) checkSettled() {
	holders := map[string][]*simNode{}
	for _, n := range w.nodes {
		for id, in := range n.held {
			holders[id] = append(holders[id], n)
			if of := w.root.core.Instance(id); of == nil || of.Desired != DesiredRunning {
				w.fail("%s holds %s, which nobody wants", n.peer.Name, in)
			}
		}
	}
	for id, in := range w.root.core.instances.records {
		on := holders[id]
		if len(on) > 1 {
			w.fail("%s is on %d nodes", id, len(on))
		}
		switch {
		case in.Desired == DesiredTerminated:
			if in.State != job.Terminated {
				w.fail("%s shall be terminated and is %s", id, in.State)
			}
		case in.State == job.NotDeployable:
			w.checkNoRoom(in, on)
		case in.State == job.Running:
			if len(on) != 1 || on[0].held[id].state != job.Running {
				w.fail("%s is said to run, but is on %d nodes", id, len(on))
			}
		case in.State.Ended():
			if len(on) == 1 && !on[0].held[id].state.Ended() {
				w.fail("%s has ended as %s but runs on %s", id, in.State, on[0].peer.Name)
			}
		default:
			w.fail("%s is %s after all has settled", id, in.State)
		}
	}
}

// checkNoRoom: an instance that nobody takes says why, and truly has no place.
func (w *world) checkNoRoom(in *Instance, on []*simNode) {
	if len(in.Rejections) == 0 || in.Reason == "" || len(on) != 0 {
		w.fail("%s is not deployable, is on %d nodes, and says %q", in.ID, len(on), in.Reason)
	}
	for i, n := range w.nodes {
		j := in.parsed
		fits := n.free().Covers(scheduler.Needs(j)) && (j.WorkerNode == "" || j.WorkerNode == n.peer.Name) &&
			(j.ClusterLocation == "" || i < 2 && j.ClusterLocation == "Garching")
		if fits {
			w.fail("%s has no place, but %s has room: %s", in.ID, n.peer.Name, in.Reason)
		}
	}
}

// checkEmpty: once all is terminated nothing is left of it but history.
func (w *world) checkEmpty() {
	for _, n := range w.nodes {
		if len(n.held) != 0 || n.free() != n.capacity {
			w.fail("%s still holds %d", n.peer.Name, len(n.held))
		}
	}
	for id, in := range w.root.core.instances.records {
		if in.State != job.Terminated || in.ChildID != "" {
			w.fail("%s is %s at %q after its end", id, in.State, in.ChildID)
		}
	}
	if n := len(w.cluster.core.instances.records); n != 0 {
		w.fail("the cluster still has %d instances", n)
	}
	for _, c := range []*Core{w.root.core, w.cluster.core} {
		for id, l := range c.live {
			if len(l.unacked) != 0 {
				w.fail("%s: %d are still reserved at %s", c.cfg.Name, len(l.unacked), id)
			}
		}
		if len(c.progress)+len(c.outbox)+len(c.unplaced)+len(c.explaining)+len(c.byChild) != 0 {
			w.fail("%s: progress %v, outbox %v, unplaced %v, explaining %v, by child %v", c.cfg.Name, c.progress, c.outbox, c.unplaced, c.explaining, c.byChild)
		}
	}
	var all int64
	for _, n := range w.nodes {
		all += n.capacity.CPUMillis
	}
	if free := w.root.core.Offer().GetFree().GetCpuMillis(); free != all {
		w.fail("%d of %d millicores are free once all is terminated", free, all)
	}
}

// checkHistories: each history is one that the table of states allows.
func (w *world) checkHistories() {
	for _, id := range w.jobs {
		events, err := w.root.core.History(context.Background(), id)
		w.must(err)
		state, revision := job.State(""), uint64(0)
		for _, ev := range events {
			if !job.CanFollow(state, ev.State) || ev.Revision <= revision {
				w.fail("%s: %s after %s", ev.InstanceID, ev.State, state)
			}
			state, revision = ev.State, ev.Revision
		}
		if state != job.Terminated {
			w.fail("the history of %s ends with %s", id, state)
		}
	}
}
