package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

func TestJoinByHand(t *testing.T) {
	t.Parallel()
	tr := Plant(t, programs)
	r := tr.Ctl("token", "create", "--join", "cluster")
	want(t, r, 0, "edgecontrol cluster --join "+tr.Root.Link)
	link := FreePort(t, "udp")
	c := &Orchestrator{Link: link, Process: tr.process("cluster", programs.path("edgecontrol"), "cluster", "--data-dir", tr.path("c"),
		"--name", "hand", "--link-addr", link, "--join", tr.Root.Link, "--token", strings.TrimSpace(r.Stdout))}
	tr.clusters = append(tr.clusters, c)
	tr.StartOrchestrator(c)
	tr.AwaitCluster("hand", true)

	r = tr.Ctl("token", "create", "--join", "node", "--cluster", "hand")
	want(t, r, 0)
	n := tr.NewNode("worker")
	want(t, tr.Exec("edgeagent", "run", "--state-dir", n.Dir), 2, "edgeagent join")
	token := strings.TrimSpace(r.Stdout)
	want(t, tr.Exec("edgeagent", "join", tr.Root.Link, "--state-dir", n.Dir, "--name", "worker", "--token", token), 1, "cluster")
	want(t, tr.Exec("edgeagent", "join", c.Link, "--state-dir", n.Dir, "--name", "worker", "--token", token), 0, "Joined at "+c.Link)
	tr.StartNode(n)
	id := tr.Deploy(shell("hello", "true"+forever, "cluster_location: hand", "worker_node: worker"))
	tr.AwaitState(id, job.Running)

	want(t, tr.Exec("edgeagent", "join", c.Link, "--state-dir", n.Dir, "--token", tr.JoinToken(api.JoinNode)), 1, "joined", "--force")
	want(t, tr.Exec("edgeagent", "workloads", "--state-dir", n.Dir), 0, "hello", "RUNNING")

	// Started once more with the token in its arguments, as a service would be.
	c.Stop()
	tr.StartOrchestrator(c)
	tr.AwaitNode(n)
	if j := tr.AwaitState(id, job.Running); j.Instances[0].Restarts != 0 {
		t.Errorf("%+v", j)
	}
}

func TestNodeAtTheRoot(t *testing.T) {
	t.Parallel()
	tr := Plant(t, programs)
	n := tr.AddNode(tr.Root, "direct")
	id := tr.Deploy(shell("hello", "true"+forever))
	j := tr.AwaitState(id, job.Running)
	if in := j.Instances[0]; in.Node.Name != "direct" || in.Cluster.ID != "" {
		t.Errorf("%+v", in)
	}
	legal(t, j)
	want(t, tr.Ctl("job", "exec", id, "--", "echo", "there"), 0, "there")
	n.Kill()
	tr.StartNode(n)
	if j := tr.AwaitState(id, job.Running); j.Instances[0].Restarts != 0 {
		t.Errorf("%+v", j)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	tr := Plant(t, programs)
	c := tr.AddCluster("one", "here")
	other := Plant(t, programs)

	node := func() string { return tr.path(fmt.Sprintf("joiner-%d", time.Now().UnixNano())) }
	refused := func(t *testing.T, token, at string, texts ...string) {
		t.Helper()
		dir := node()
		r := tr.Exec("edgeagent", "join", at, "--state-dir", dir, "--name", "x", "--token", token)
		want(t, r, 1, texts...)
		if _, err := os.Stat(filepath.Join(dir, "identity", "chain.pem")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a refused node has a certificate: %v", err)
		}
		if token != "" && strings.Contains(r.Stderr, token) {
			t.Errorf("the token is in the message: %s", r.Stderr)
		}
	}
	create := func(t *testing.T, n api.NewJoinToken) api.CreatedJoinToken {
		t.Helper()
		token, err := tr.API().CreateJoinToken(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	t.Run("used", func(t *testing.T) {
		token := tr.JoinToken(api.JoinNode)
		want(t, tr.Exec("edgeagent", "join", c.Link, "--state-dir", node(), "--token", token), 0)
		refused(t, token, c.Link, "used")
		refused(t, token, tr.Root.Link, "used")
	})
	t.Run("expired", func(t *testing.T) {
		token := create(t, api.NewJoinToken{Kind: api.JoinNode, TTLSeconds: 1})
		tr.Await("it expires", func() error {
			if time.Now().After(token.ExpiresAt) {
				return nil
			}
			return errors.New("not yet")
		})
		refused(t, token.Token, c.Link, "expired")
	})
	t.Run("revoked", func(t *testing.T) {
		token := create(t, api.NewJoinToken{Kind: api.JoinNode})
		want(t, tr.Ctl("token", "revoke", token.ID), 0)
		refused(t, token.Token, c.Link, "token")
	})
	t.Run("garbage", func(t *testing.T) {
		refused(t, "garbage", c.Link, "token")
		refused(t, strings.Repeat("A", 100_000), c.Link, "token")
		token := tr.JoinToken(api.JoinNode)
		refused(t, token[:len(token)-4]+"aaaa", c.Link, "token")
	})
	t.Run("for a cluster", func(t *testing.T) {
		refused(t, tr.JoinToken(api.JoinCluster), tr.Root.Link, "token")
	})
	t.Run("of another authority", func(t *testing.T) {
		refused(t, other.JoinToken(api.JoinNode), c.Link, "authority")
		refused(t, tr.JoinToken(api.JoinNode), other.Root.Link, "authority")
	})
	t.Run("of many uses", func(t *testing.T) {
		uses := 2
		token := create(t, api.NewJoinToken{Kind: api.JoinNode, Uses: &uses}).Token
		for range uses {
			want(t, tr.Exec("edgeagent", "join", c.Link, "--state-dir", node(), "--token", token), 0)
		}
		refused(t, token, c.Link, "used")
	})
}

func TestTwoNodesOfOneName(t *testing.T) {
	t.Parallel()
	tr, c, first := garching(t)
	second := tr.AddNode(c, "e580")
	nodes, err := tr.API().Nodes(t.Context(), "bavaria")
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) != 2 || nodes[0].ID == nodes[1].ID || !nodes[0].Ready || !nodes[1].Ready {
		t.Fatalf("want two nodes: %+v", nodes)
	}
	for _, n := range []*Node{first, second} {
		st, err := n.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		id := tr.Deploy(shell("at-"+st.Node[:8], "true"+forever, "worker_node: "+st.Node))
		if j := tr.AwaitState(id, job.Running); j.Instances[0].Node.ID != st.Node {
			t.Errorf("job for %s is at %+v", st.Node, j.Instances[0].Node)
		}
	}
	want(t, tr.Ctl("node", "show", "e580"), 1, "2 nodes match", "use the id")
}

func TestTwoAgentsWithOneStateDirectory(t *testing.T) {
	t.Parallel()
	tr, _, n := garching(t)
	id := tr.Deploy(shell("hello", "true"+forever))
	tr.AwaitState(id, job.Running)
	want(t, tr.Exec("edgeagent", "run", "--state-dir", n.Dir), 2, "another agent is running", n.Dir)
	want(t, tr.Exec("edgeagent", "workloads", "--state-dir", n.Dir), 0, "hello", "RUNNING")
	want(t, tr.Ctl("job", "exec", id, "--", "true"), 0)
}

func TestWrongAddress(t *testing.T) {
	t.Parallel()
	tr := Plant(t, programs)
	nobody := FreePort(t, "udp")
	dir := tr.path("lost")
	token := tr.JoinToken(api.JoinNode)
	want(t, tr.Exec("edgeagent", "join", nobody, "--state-dir", dir, "--token", token), 1, nobody)
	want(t, tr.Exec("edgeagent", "join", "no-such-host.invalid:7443", "--state-dir", dir, "--token", token), 1, "no-such-host.invalid")
	want(t, tr.Exec("edgeagent", "join", "nonsense", "--state-dir", dir, "--token", token), 1, "nonsense")
	want(t, tr.Exec("edgeagent", "join", tr.Root.Link, "--state-dir", dir, "--token", token), 0)

	// An agent whose parent is away goes on trying, and says so.
	n := tr.NewNode("stray")
	n.argv = append(n.argv, "--state-dir", dir, "--parent", nobody)
	n.Dir = dir
	n.Start()
	tr.Await("the agent connects where it joined", func() error {
		st, err := n.Status(t.Context())
		if err == nil && !st.Connected {
			err = errors.New(st.Error)
		}
		return err
	})
	if !strings.Contains(n.Output(), nobody) {
		t.Errorf("the log does not say that %s was tried:\n%s", nobody, n.Output())
	}
}
