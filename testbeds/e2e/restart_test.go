package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

// marked is a native job that notes the PID of each of its runs in a file of
// its own in the tree's "jobs", and then goes on with a script.
func (tr *Tree) marked(name, script string, more ...string) string {
	return shell(name, fmt.Sprintf("echo $$ >> %s; %s", tr.path("jobs", name), script), more...)
}

// runs returns the PIDs of a marked job's runs, in order.
func (tr *Tree) runs(name string) (pids []int) {
	b, _ := os.ReadFile(tr.path("jobs", name)) // missing: it has never run
	for _, f := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			tr.t.Errorf("runs of %s: %v", name, err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// alive reports whether a run of a marked job still goes on.
func (tr *Tree) alive(name string, pid int) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && strings.Contains(string(environ), tr.Dir+"/") && syscall.Kill(pid, 0) == nil
}

// awaitRuns waits until a marked job has noted n runs, which it does a moment
// after it is RUNNING.
func (tr *Tree) awaitRuns(name string, n int) {
	tr.t.Helper()
	tr.Await(fmt.Sprintf("job %s has %d runs", name, n), func() error {
		if pids := tr.runs(name); len(pids) < n {
			return fmt.Errorf("it has %v", pids)
		}
		return nil
	})
}

// ranOnce checks that a marked job was started once and still runs.
func (tr *Tree) ranOnce(t *testing.T, name string) {
	t.Helper()
	tr.In(t).awaitRuns(name, 1)
	if pids := tr.runs(name); len(pids) != 1 || !tr.alive(name, pids[0]) {
		t.Errorf("job %s: want one run that goes on, got %v", name, pids)
	}
}

// deployMany deploys n jobs that are made by make, and waits until all run.
func (tr *Tree) deployMany(n int, make func(i int) string) (ids []string) {
	tr.t.Helper()
	for i := range n {
		ids = append(ids, tr.Deploy(make(i)))
	}
	tr.awaitAll(ids, job.Running)
	return ids
}

// awaitAll waits until all of the jobs are in a state.
func (tr *Tree) awaitAll(ids []string, want job.State) {
	tr.t.Helper()
	tr.Await(fmt.Sprintf("%d jobs are %s", len(ids), want), func() error {
		all, err := tr.API().Jobs(tr.t.Context(), api.JobQuery{})
		if err != nil {
			return err
		}
		found := map[string]api.Job{}
		for _, j := range all {
			found[j.ID] = j
		}
		for _, id := range ids {
			if j := found[id]; j.State != want {
				return fmt.Errorf("%s is %s: %+v", j.Name, j.State, j.Instances)
			}
		}
		return nil
	})
}

// Root and cluster die and come back, one by one and together; jobs do not
// notice, and new ones can be deployed.
func TestOrchestratorsComeBack(t *testing.T) {
	t.Parallel()
	tr, c, n := garching(t)
	name := func(i int) string { return fmt.Sprintf("job-%d", i) }
	ids := tr.deployMany(5, func(i int) string { return tr.marked(name(i), "exec sleep 100000") })
	for what, crash := range map[string]func(){
		"root":    func() { tr.Root.Kill(); tr.StartRoot() },
		"cluster": func() { c.Kill(); tr.StartOrchestrator(c) },
		"both": func() {
			c.Kill()
			tr.Root.Kill()
			tr.StartOrchestrator(c)
			tr.StartRoot()
		},
		"root, politely":    func() { tr.Root.Stop(); tr.StartRoot() },
		"cluster, politely": func() { c.Stop(); tr.StartOrchestrator(c) },
	} {
		t.Run(what, func(t *testing.T) {
			tr := tr.In(t)
			crash()
			tr.AwaitNode(n)
			fresh := tr.Deploy(shell("fresh", "true"+forever))
			tr.AwaitState(fresh, job.Running)
			want(t, tr.Ctl("job", "terminate", "--wait", fresh), 0)
			tr.awaitAll(ids, job.Running)
			for i, id := range ids {
				legal(t, tr.Job(id))
				tr.ranOnce(t, name(i))
			}
		})
	}
}

// A job that is deployed, and one that is terminated, while the cluster is
// away, are so when it is back.
func TestWishesWait(t *testing.T) {
	t.Parallel()
	tr, c, _ := garching(t)
	old := tr.Deploy(tr.marked("old", "exec sleep 100000"))
	tr.AwaitState(old, job.Running)
	tr.awaitRuns("old", 1)
	c.Kill()
	fresh := tr.Deploy(tr.marked("fresh", "exec sleep 100000"))
	if _, err := tr.API().Terminate(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	tr.Root.Kill()
	tr.StartRoot()
	tr.ranOnce(t, "old")
	tr.StartOrchestrator(c)
	legal(t, tr.AwaitState(fresh, job.Running))
	legal(t, tr.AwaitState(old, job.Terminated))
	tr.ranOnce(t, "fresh")
	if pids := tr.runs("old"); len(pids) != 1 || tr.alive("old", pids[0]) {
		t.Errorf("the terminated job goes on: %v", pids)
	}
}

// many is how many jobs an agent is restarted with.
func many() int {
	if raceEnabled {
		return 30
	}
	return 100
}

func TestWorkloadsOutliveTheAgent(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Node){
		"SIGTERM": func(n *Node) { n.Stop() },
		"SIGKILL": func(n *Node) { n.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outlive(t, end)
		})
	}
}

// outlive ends the agent under many jobs, some of which end before it is back.
func outlive(t *testing.T, end func(*Node)) {
	tr, _, n := garching(t)
	gate := tr.path("jobs", "gate")
	ending := func(i int) bool { return i%10 == 3 }
	name := func(i int) string { return fmt.Sprintf("job-%d", i) }
	ids := tr.deployMany(many(), func(i int) string {
		if ending(i) {
			return tr.marked(name(i), fmt.Sprintf("while [ ! -e %s ]; do sleep 0.1; done; echo last words of %d; exit %d", gate, i, i+1),
				"kind: batch", "restart: never")
		}
		return tr.marked(name(i), "exec sleep 100000")
	})
	end(n)
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range ids {
		if ending(i) {
			tr.Await(name(i)+" ends", func() error {
				if pids := tr.runs(name(i)); len(pids) != 1 || tr.alive(name(i), pids[0]) {
					return fmt.Errorf("runs %v", pids)
				}
				return nil
			})
		}
	}
	started := time.Now()
	tr.StartNode(n)
	var gone, here []string
	for i, id := range ids {
		if ending(i) {
			gone = append(gone, id)
		} else {
			here = append(here, id)
		}
	}
	tr.awaitAll(gone, job.Failed)
	tr.awaitAll(here, job.Running)
	t.Logf("%d jobs are adopted %s after the start of the agent", len(ids), time.Since(started).Round(time.Millisecond))
	for i, id := range ids {
		j := tr.Job(id)
		in := j.Instances[0]
		legal(t, j)
		if in.Restarts != 0 {
			t.Errorf("job %d was restarted %d times", i, in.Restarts)
		}
		if !ending(i) {
			tr.ranOnce(t, name(i))
			continue
		}
		if in.Exit == nil || in.Exit.Code != i+1 || in.Exit.Lost {
			t.Errorf("job %d ended with %+v, want exit code %d", i, in.Exit, i+1)
		}
		if i < 30 {
			want(t, tr.Ctl("job", "logs", id), 0, fmt.Sprintf("last words of %d\n", i))
		}
	}
}

// A node that is switched off and on while it is cut off from its cluster
// starts its jobs again by itself, as their policies say.
func TestRebootWhileCutOff(t *testing.T) {
	t.Parallel()
	tr, c, n := garching(t)
	always := tr.Deploy(tr.marked("always", "exec sleep 100000"))
	batch := tr.Deploy(tr.marked("batch", "exec sleep 100000", "kind: batch"))
	never := tr.Deploy(tr.marked("never", "exec sleep 100000", "restart: never"))
	tr.awaitAll([]string{always, batch, never}, job.Running)
	for _, name := range []string{"always", "batch", "never"} {
		tr.awaitRuns(name, 1)
	}

	c.Kill()
	n.Kill()
	// What a reboot leaves: no process. Shims go first, for they would see the
	// end of their workloads and write it down.
	tr.Await("all processes are gone", func() error {
		left := processesOf(n.Dir)
		maps.DeleteFunc(left, func(pid int, _ string) bool { return syscall.Kill(pid, syscall.SIGKILL) != nil })
		if len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})

	n.Start()
	tr.Await("the node runs them again, alone", func() error {
		all, err := n.Workloads(t.Context())
		if err != nil {
			return err
		}
		states := map[string]job.State{}
		for _, in := range all {
			states[in.Job.Name] = in.State
		}
		want := map[string]job.State{"always": job.Running, "batch": job.Running, "never": job.Failed}
		if !maps.Equal(states, want) {
			return fmt.Errorf("they are %v, want %v", states, want)
		}
		return nil
	})
	if st, err := n.Status(t.Context()); err != nil || st.Connected {
		t.Errorf("the node is not alone: %+v, %v", st, err)
	}
	tr.StartOrchestrator(c)
	tr.AwaitNode(n)
	for name, id := range map[string]string{"always": always, "batch": batch} {
		var j api.Job
		tr.Await("the root hears of the restart of "+name, func() error {
			j = tr.Job(id)
			if in := j.Instances[0]; in.State != job.Running || in.Restarts != 1 {
				return fmt.Errorf("%+v", in)
			}
			return nil
		})
		legal(t, j)
		tr.awaitRuns(name, 2)
		if pids := tr.runs(name); len(pids) != 2 || tr.alive(name, pids[0]) || !tr.alive(name, pids[1]) {
			t.Errorf("%s: want a second run, got %v", name, pids)
		}
	}
	legal(t, tr.AwaitState(never, job.Failed))
}

// A damaged store is not silently replaced: the programs say what to do.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	tr, c, n := garching(t)
	for _, tt := range []struct {
		p    *Process
		file string
	}{{n.Process, filepath.Join(n.Dir, "agent.db")}, {c.Process, tr.path("cluster-bavaria", "cluster.db")}, {tr.Root.Process, tr.path("root", "root.db")}} {
		tt.p.Stop()
		saved, err := os.ReadFile(tt.file)
		if err == nil {
			err = os.WriteFile(tt.file, []byte(strings.Repeat("garbage", 1000)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		tt.p.Start()
		err = tt.p.Wait(stopTimeout)
		if err == nil || !strings.Contains(tt.p.Output(), "is damaged") || !strings.Contains(tt.p.Output(), tt.file) {
			t.Errorf("%s with a damaged store: %v\n%s", tt.p.Name, err, tt.p.Output())
		}
		if now, err := os.ReadFile(tt.file); err != nil || !strings.HasPrefix(string(now), "garbage") {
			t.Errorf("%s has changed the damaged store: %v", tt.p.Name, err)
		}
		if err := os.WriteFile(tt.file, saved, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tr.StartRoot()
	tr.StartOrchestrator(c)
	tr.StartNode(n)
}
