package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

// garching is the tree that R8's sample asks for.
func garching(t *testing.T) (*Tree, *Orchestrator, *Node) {
	t.Helper()
	tr := Plant(t, programs)
	c := tr.AddCluster("bavaria", "Garching")
	return tr, c, tr.AddNode(c, "e580")
}

// shell is a native job that runs a script; further lines are added to the file.
func shell(name, script string, more ...string) string {
	return fmt.Sprintf("api_version: v0.1\njob_name: %s\nimage: /bin/sh\nimage_runtime: native\nargs: [-c, %q]\n%s\n",
		name, script, strings.Join(more, "\n"))
}

const forever = "; exec sleep 100000"

// want checks the exit code of a command and that its output has all texts.
func want(t *testing.T, r Result, code int, texts ...string) {
	t.Helper()
	if r.Code != code {
		t.Errorf("want exit code %d: %s", code, r)
	}
	for _, text := range texts {
		if !strings.Contains(r.Stdout+r.Stderr, text) {
			t.Errorf("want %q: %s", text, r)
		}
	}
}

// states are those of an instance's history.
func states(in api.Instance) (l []job.State) {
	for _, ch := range in.History {
		l = append(l, ch.State)
	}
	return l
}

// legal checks each step of a job's history against the table.
func legal(t *testing.T, j api.Job) {
	t.Helper()
	for _, in := range j.Instances {
		before := job.State("")
		for _, s := range states(in) {
			if !job.CanFollow(before, s) {
				t.Errorf("job %s: %q follows %q: %v", j.Name, s, before, states(in))
			}
			before = s
		}
		if before != in.State {
			t.Errorf("job %s is %s, but its history ends %s", j.Name, in.State, before)
		}
	}
}

func TestLifeOfAJob(t *testing.T) {
	t.Parallel()
	tr, _, _ := garching(t)
	r := tr.CtlWith(shell("hello", "echo hello; echo oops >&2"+forever), "deploy", "--wait", "-")
	want(t, r, 0)
	id := strings.TrimSpace(r.Stdout)
	tr.Await("its output is there", func() error {
		if r := tr.Ctl("job", "logs", "hello"); r.Stdout != "hello\n" || r.Stderr != "oops\n" {
			return fmt.Errorf("%s", r)
		}
		return nil
	})
	want(t, tr.Ctl("job", "exec", "hello", "--", "sh", "-c", "echo inside; exit 7"), 7, "inside\n")
	want(t, tr.CtlWith("through", "job", "exec", "-i", "hello", "--", "cat"), 0, "through")
	want(t, tr.Ctl("job", "show", "hello"), 0, id, "RUNNING", "bavaria", "e580")
	want(t, tr.Ctl("job", "events", "hello"), 0, "REQUESTED", "SCHEDULED_CLUSTER", "SCHEDULED_NODE", "RUNNING")
	want(t, tr.Ctl("job", "explain", "hello"), 0, "taken by: e580")
	want(t, tr.Ctl("job", "ls"), 0, id, "hello")
	want(t, tr.Ctl("node", "ls"), 0, "e580")
	want(t, tr.Ctl("node", "show", "e580"), 0, "native")
	want(t, tr.Ctl("cluster", "ls"), 0, "bavaria", "Garching")

	follows, followed := make(chan struct{}), make(chan error, 1)
	go func() {
		begin := sync.OnceFunc(func() { close(follows) })
		followed <- tr.API().Logs(t.Context(), id, api.LogQuery{Follow: true, Tail: -1}, func(api.LogEntry) error {
			begin()
			return nil
		})
	}()
	<-follows
	want(t, tr.Ctl("job", "terminate", "--wait", "hello"), 0)
	if err := <-followed; err != nil {
		t.Errorf("following the log of a job that is terminated: %v", err)
	}

	var j api.Job
	r = tr.Ctl("job", "show", id, "-o", "json")
	if err := json.Unmarshal([]byte(r.Stdout), &j); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	if j.State != job.Terminated || len(j.Instances) != 1 || j.Instances[0].State != job.Terminated {
		t.Errorf("it is %s: %+v", j.State, j.Instances)
	}
	legal(t, j)
	if r := tr.Ctl("job", "ls"); strings.Contains(r.Stdout, id) {
		t.Errorf("a terminated job is listed: %s", r)
	}
	want(t, tr.Ctl("job", "ls", "--all"), 0, id)
	want(t, tr.Ctl("job", "terminate", id), 0)
}

func TestFollowedLogIsWhole(t *testing.T) {
	t.Parallel()
	tr, _, _ := garching(t)
	gate := filepath.Join(tr.Dir, "gate")
	script := fmt.Sprintf("echo first; while [ ! -e %s ]; do sleep 0.05; done; i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; echo last", gate)
	id := tr.Deploy(shell("lines", script, "kind: batch"))
	tr.AwaitState(id, job.Running)
	followed := make(chan Result, 1)
	go func() { followed <- tr.Ctl("job", "logs", "-f", id) }()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := <-followed
	lines := strings.Split(strings.TrimSpace(r.Stdout), "\n")
	if r.Code != 0 || len(lines) != 2002 || lines[0] != "first" || lines[2001] != "last" {
		t.Errorf("exit code %d, %d lines from %q to %q; %s", r.Code, len(lines), lines[0], lines[len(lines)-1], r.Stderr)
	}
	tr.AwaitState(id, job.Completed)
	if again := tr.Ctl("job", "logs", id); again.Stdout != r.Stdout {
		t.Errorf("the log is another one after the end: %d bytes, %d before", len(again.Stdout), len(r.Stdout))
	}
	want(t, tr.Ctl("job", "logs", "--tail", "2", id), 0, "line 1999\nlast\n")
}

func TestBatch(t *testing.T) {
	t.Parallel()
	tr, _, _ := garching(t)
	t.Run("completes", func(t *testing.T) {
		tr := tr.In(t)
		want(t, tr.CtlWith(shell("fine", "echo done", "kind: batch"), "deploy", "--wait=COMPLETED", "--timeout", "20s", "-"), 0)
		j := tr.Job("fine")
		if in := j.Instances[0]; in.Exit == nil || in.Exit.Code != 0 || in.Restarts != 0 {
			t.Errorf("%+v", in)
		}
		legal(t, j)
		want(t, tr.Ctl("job", "logs", "fine"), 0, "done\n")
	})
	t.Run("fails after restarts", func(t *testing.T) {
		tr := tr.In(t)
		r := tr.CtlWith(shell("poor", "echo attempt; echo the disk is on fire >&2; exit 9", "kind: batch",
			"restart: {policy: on_failure, attempts: 2, backoff: 10ms}"), "deploy", "--wait=COMPLETED", "--timeout", "20s", "-")
		want(t, r, 1, "FAILED", "exited with code 9", "the disk is on fire")
		j := tr.Job("poor")
		if in := j.Instances[0]; in.Exit == nil || in.Exit.Code != 9 || in.Restarts != 2 {
			t.Errorf("%+v", in)
		}
		legal(t, j)
		if r := tr.Ctl("job", "logs", "poor"); strings.Count(r.Stdout, "attempt\n") != 3 {
			t.Errorf("want the output of three runs: %s", r)
		}
	})
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	tr, _, _ := garching(t)
	want(t, tr.Ctl("job", "ls"), 0)
	want(t, tr.CtlWith(shell("bad", "exit 1", "restart: never"), "deploy", "--wait=COMPLETED", "-"), 1)
	want(t, tr.Ctl("job", "frobnicate"), 2)
	want(t, tr.Ctl("deploy", filepath.Join(tr.Dir, "missing.yaml")), 2, "missing.yaml")
	want(t, tr.CtlWith("job_name: [", "deploy", "-"), 2)
	want(t, tr.Ctl("job", "show", "nobody"), 3, "nobody")
	want(t, tr.Ctl("--address", FreePort(t, "tcp"), "job", "ls"), 4, "127.0.0.1")
	want(t, tr.Ctl("--token", "nonsense", "job", "ls"), 5)
}

func TestNotDeployable(t *testing.T) {
	t.Parallel()
	tr, _, _ := garching(t)
	for name, tt := range map[string]struct {
		wish    string
		reasons []string
	}{
		"no such place":   {"cluster_location: Atlantis", []string{"bavaria", "Atlantis"}},
		"no such node":    {"worker_node: e590", []string{"bavaria", "e580", "e590"}},
		"too much cpu":    {"requirements: {cpu: 1000}", []string{"bavaria", "e580", "needs 1000 cores"}},
		"too much memory": {"requirements: {memory: 100000000}", []string{"bavaria", "e580", "memory"}},
		"other processor": {"arch: arm", []string{"bavaria", "e580", "arm"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := tr.In(t)
			file := shell("wish", "true", tt.wish)
			r := tr.CtlWith(file, "deploy", "--wait", "--timeout", "20s", "-")
			want(t, r, 1, append(tt.reasons, "NOT_DEPLOYABLE")...)
			id := strings.Fields(r.Stdout)[0]
			want(t, tr.Ctl("job", "explain", id), 0, append(tt.reasons, "nobody takes it")...)
			want(t, tr.CtlWith(file, "job", "explain", "-"), 0, append(tt.reasons, "nobody takes it")...)
			want(t, tr.Ctl("job", "terminate", "--wait", id), 0)
			legal(t, tr.Job(id))
		})
	}
}

// A job that nobody can take is placed as soon as somebody can.
func TestPlacedOnceThereIsANode(t *testing.T) {
	t.Parallel()
	tr, c, _ := garching(t)
	id := tr.Deploy(shell("patient", "true"+forever, "worker_node: late"))
	tr.AwaitState(id, job.NotDeployable)
	tr.AddNode(c, "late")
	j := tr.AwaitState(id, job.Running)
	if j.Instances[0].Node.Name != "late" {
		t.Errorf("it is at %s", j.Instances[0].Node)
	}
	legal(t, j)
}
