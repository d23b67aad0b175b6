package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/edgeio/edgeio/agent/node"
	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

// Tree is one installation: a root, its clusters and nodes. Everything of it
// lies in Dir.
type Tree struct {
	Dir  string
	Root *Orchestrator

	t        testing.TB
	programs Programs
	clusters []*Orchestrator
	nodes    []*Node
	client   *api.Client
	onFelled []func() error // run once all processes have ended
}

// Orchestrator is a root or a cluster.
type Orchestrator struct {
	*Process
	Link string // where children connect
}

// Node is a worker node.
type Node struct {
	*Process
	Dir string // state directory
}

// Waiting, everywhere here.
const (
	pollInterval = 15 * time.Millisecond
	// A parent that was started again is noticed by the next keep-alive of a
	// child, which may be 20 s away (link.DefaultKeepAlive).
	awaitTimeout = 45 * time.Second
)

// usageInterval makes a node that has nothing else to say notice soon that its
// parent was started again.
const usageInterval = "1s"

// Plant starts a root, and cleans up at the end of the test.
func Plant(t testing.TB, programs Programs) *Tree {
	t.Helper()
	// t.TempDir is too long for the sockets in it.
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	// Jobs run as a user who may do little; they leave what the tests look for
	// in "jobs".
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "jobs"), 0), os.Chmod(filepath.Join(dir, "jobs"), 0o777)); err != nil {
		t.Fatal(err)
	}
	tr := &Tree{Dir: dir, t: t, programs: programs}
	t.Cleanup(tr.fell)
	api, link := FreePort(t, "tcp"), FreePort(t, "udp")
	tr.Root = &Orchestrator{Link: link, Process: tr.process("root", programs.path("edgecontrol"), "root",
		"--data-dir", tr.path("root"), "--api-addr", api, "--link-addr", link, "--usage-interval", usageInterval, "--log-level", "debug")}
	tr.StartRoot()
	return tr
}

// In is the tree for a subtest, which then is the one that fails.
func (tr *Tree) In(t testing.TB) *Tree {
	sub := *tr
	sub.t = t
	return &sub
}

func (tr *Tree) path(name ...string) string {
	return filepath.Join(append([]string{tr.Dir}, name...)...)
}

// process describes a program; its output goes to a file of its name.
func (tr *Tree) process(name string, argv ...string) *Process {
	return &Process{
		Name: name, t: tr.t, argv: argv, out: output{t: tr.t, path: tr.path(name + ".log")},
		env: []string{tr.raceOptions(), "PATH=" + tr.programs.Dir + ":" + os.Getenv("PATH")},
	}
}

var ready = regexp.MustCompile(`(?m)^ready: `)

// StartRoot starts the root and waits until it is ready.
func (tr *Tree) StartRoot() { tr.t.Helper(); tr.StartOrchestrator(tr.Root) }

// StartOrchestrator starts a root or a cluster, env being for this run only,
// and waits until it takes connections.
func (tr *Tree) StartOrchestrator(o *Orchestrator, env ...string) {
	tr.t.Helper()
	o.Start(env...)
	ctx, cancel := context.WithTimeout(context.Background(), awaitTimeout)
	defer cancel()
	o.match(ctx, ready)
}

// AddCluster joins a cluster to the root and waits until that knows it.
func (tr *Tree) AddCluster(name, location string) *Orchestrator {
	tr.t.Helper()
	link := FreePort(tr.t, "udp")
	c := &Orchestrator{Link: link, Process: tr.process("cluster-"+name, tr.programs.path("edgecontrol"), "cluster",
		"--data-dir", tr.path("cluster-"+name), "--name", name, "--location", location,
		"--link-addr", link, "--join", tr.Root.Link, "--usage-interval", usageInterval, "--log-level", "debug")}
	tr.clusters = append(tr.clusters, c)
	tr.StartOrchestrator(c, "EDGECLUSTER_TOKEN="+tr.JoinToken(api.JoinCluster))
	tr.AwaitCluster(name, true)
	return c
}

// AddNode joins a node to parent and waits until the root knows it. Several
// nodes may have the same name.
func (tr *Tree) AddNode(parent *Orchestrator, name string) *Node {
	tr.t.Helper()
	n := tr.NewNode(name)
	r := tr.Exec("edgeagent", "join", "--state-dir", n.Dir, "--name", name, "--token", tr.JoinToken(api.JoinNode), parent.Link)
	if r.Code != 0 {
		tr.t.Fatalf("join node %s: %s", name, r)
	}
	tr.StartNode(n)
	return n
}

// NewNode describes a node that has not joined.
func (tr *Tree) NewNode(name string) *Node {
	label := fmt.Sprintf("node-%s-%d", name, len(tr.nodes))
	n := &Node{Dir: tr.path(label), Process: tr.process(label, tr.programs.path("edgeagent"), "run",
		"--state-dir", tr.path(label), "--name", name, "--log-level", "debug")}
	tr.nodes = append(tr.nodes, n)
	return n
}

// StartNode starts a node that has joined and waits until the root sees one
// more node that is ready.
func (tr *Tree) StartNode(n *Node) {
	tr.t.Helper()
	n.Start()
	tr.AwaitNode(n)
}

// AwaitNode waits until the root sees the node ready, by its id.
func (tr *Tree) AwaitNode(n *Node) {
	tr.t.Helper()
	tr.Await("node "+n.Name+" is ready", func() error {
		if !n.Running() {
			tr.t.Fatalf("%s ended: %v\n%s", n.Name, n.err, n.Output())
		}
		st, err := n.Status(tr.t.Context())
		if err != nil {
			return err
		}
		if !st.Connected {
			return fmt.Errorf("it is not connected: %s", st.Error)
		}
		seen, err := tr.API().Node(tr.t.Context(), st.Node)
		if err == nil && !seen.Ready {
			err = errors.New("the root does not see it ready")
		}
		return err
	})
}

// Status is what the agent says of itself; it must run.
func (n *Node) Status(ctx context.Context) (node.Status, error) {
	st, running, err := node.DialControl(n.Dir).Status(ctx)
	if err == nil && !running {
		err = errors.New("the agent does not answer")
	}
	return st, err
}

// Workloads is what "edgeagent workloads" shows.
func (n *Node) Workloads(ctx context.Context) ([]workload.Instance, error) {
	return node.DialControl(n.Dir).Workloads(ctx)
}

// AwaitCluster waits until the root sees a cluster connected, or not.
func (tr *Tree) AwaitCluster(name string, ready bool) {
	tr.t.Helper()
	tr.Await(fmt.Sprintf("cluster %s: ready is %v", name, ready), func() error {
		c, err := tr.API().Cluster(tr.t.Context(), name)
		if err != nil {
			return err
		}
		if c.Ready != ready {
			return fmt.Errorf("ready is %v", c.Ready)
		}
		return nil
	})
}

// JoinToken makes a token for one use.
func (tr *Tree) JoinToken(kind string) string {
	tr.t.Helper()
	token, err := tr.API().CreateJoinToken(tr.t.Context(), api.NewJoinToken{Kind: kind})
	if err != nil {
		tr.t.Fatalf("make a join token: %v", err)
	}
	return token.Token
}

// API is a client with the rights of an admin.
func (tr *Tree) API() *api.Client {
	tr.t.Helper()
	if tr.client != nil {
		return tr.client
	}
	var conf struct{ Address, Authority, Token string }
	b, err := os.ReadFile(tr.ctlConfig())
	if err == nil {
		err = yaml.Unmarshal(b, &conf)
	}
	if err != nil {
		tr.t.Fatalf("read the admin's configuration: %v", err)
	}
	tr.client, err = api.New(api.Config{Addresses: []string{conf.Address}, AuthorityPEM: []byte(conf.Authority), Token: conf.Token})
	if err != nil {
		tr.t.Fatal(err)
	}
	return tr.client
}

func (tr *Tree) ctlConfig() string { return tr.path("root", "edgectl.yaml") }

// Await polls a condition until it returns nil. It fails the test after
// awaitTimeout.
func (tr *Tree) Await(what string, condition func() error) {
	tr.t.Helper()
	tr.AwaitFor(awaitTimeout, what, condition)
}

// AwaitFor is Await with another deadline.
func (tr *Tree) AwaitFor(timeout time.Duration, what string, condition func() error) {
	tr.t.Helper()
	if err := await(timeout, condition); err != nil {
		tr.t.Fatalf("not within %s: %s: %v", timeout, what, err)
	}
}

// await returns the condition's last error if it does not become true in time.
func await(timeout time.Duration, condition func() error) error {
	deadline := time.Now().Add(timeout)
	for {
		err := condition()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pollInterval)
	}
}

// Deploy deploys a job file and returns the job's id.
func (tr *Tree) Deploy(file string) string {
	tr.t.Helper()
	j, err := tr.API().Deploy(tr.t.Context(), []byte(file), "")
	if err != nil {
		tr.t.Fatalf("deploy: %v\n%s", err, file)
	}
	return j.ID
}

// Job returns a job.
func (tr *Tree) Job(id string) api.Job {
	tr.t.Helper()
	j, err := tr.API().Job(tr.t.Context(), id)
	if err != nil {
		tr.t.Fatalf("job %s: %v", id, err)
	}
	return j
}

// AwaitState waits until a job is in a state and returns it. The root may be
// away meanwhile.
func (tr *Tree) AwaitState(id string, want job.State) (j api.Job) {
	tr.t.Helper()
	tr.Await("job "+id+" is "+string(want), func() (err error) {
		if j, err = tr.API().Job(tr.t.Context(), id); err != nil {
			return err
		}
		if j.State != want {
			return fmt.Errorf("it is %s: %+v", j.State, j.Instances)
		}
		return nil
	})
	return j
}
