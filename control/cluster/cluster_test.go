package cluster

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"storj.io/drpc/drpcmux"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/root"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/enrol"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

var discard = slog.New(slog.DiscardHandler)

// runRoot serves a root until stop.
func runRoot(t *testing.T, dir, linkAddr string) (ends root.Endpoints, stop func()) {
	t.Helper()
	ready := make(chan root.Endpoints, 1)
	stop = running(t, func(ctx context.Context) error {
		return root.Run(ctx, root.Config{
			DataDir: dir, Name: "root", APIAddr: "127.0.0.1:0", LinkAddr: linkAddr, Advertise: []string{"127.0.0.1"},
			Ready: func(e root.Endpoints) { ready <- e },
		}, discard)
	})
	return await(t, ready), stop
}

func runCluster(t *testing.T, dir string, parent net.Addr, token string) (addr net.Addr, stop func()) {
	t.Helper()
	ready := make(chan net.Addr, 1)
	stop = running(t, func(ctx context.Context) error {
		return Run(ctx, Config{
			DataDir: dir, Name: "muc", Location: "Garching", Parents: []string{parent.String()}, Token: token,
			LinkAddr: "127.0.0.1:0", Ready: func(a net.Addr) { ready <- a },
		}, discard)
	})
	return await(t, ready), stop
}

func running(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func await[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("it did not come")
		panic("unreachable")
	}
}

// until asks again until the answer is yes.
func until(t *testing.T, what string, yes func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !yes() {
		select {
		case <-deadline:
			t.Fatalf("%s did not come about", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func client(t *testing.T, ends root.Endpoints) (*api.Client, string) {
	t.Helper()
	text, err := os.ReadFile(ends.Client)
	if err != nil {
		t.Fatal(err)
	}
	var conf struct{ Address, Authority, Token string }
	if err := yaml.Unmarshal(text, &conf); err != nil {
		t.Fatal(err)
	}
	c, err := api.New(api.Config{Addresses: []string{conf.Address}, AuthorityPEM: []byte(conf.Authority), Token: conf.Token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, conf.Token
}

// node is a worker that accepts all.
type node struct {
	pb.DRPCChildUnimplementedServer
	parent pb.DRPCParentClient
	given  chan *pb.Assignment
}

func (n *node) Apply(_ context.Context, req *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	for _, as := range req.GetAssignments() {
		n.given <- as
	}
	return &pb.ApplyResponse{Offer: offer()}, nil
}

func offer() *pb.Offer {
	free := &pb.Resources{CpuMillis: 4000, MemoryBytes: 4e9, DiskBytes: 4e9}
	return &pb.Offer{
		Sequence: uint64(time.Now().UnixNano()), Capacity: free, Free: free, Nodes: 1,
		Fits: []*pb.Fit{{Runtimes: []string{"native"}, Arch: "amd64", Free: free, Count: 1}},
	}
}

// joinNode enrols a node at a parent and connects it.
func joinNode(t *testing.T, parent net.Addr, token string) *node {
	t.Helper()
	id, err := identity.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := enrol.Join(t.Context(), enrol.Request{Store: id, Kind: identity.Node, Name: "e580", Token: token, Addrs: []string{parent.String()}}); err != nil {
		t.Fatal(err)
	}
	sess, err := link.Dial(t.Context(), parent.String(), link.Config{TLS: id.ClientTLS(identity.TLSOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{parent: pb.NewDRPCParentClient(sess.Conn()), given: make(chan *pb.Assignment, 10)}
	mux := drpcmux.New()
	if err := pb.DRPCRegisterChild(mux, n); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = sess.Serve(context.Background(), mux) }()
	t.Cleanup(func() { sess.Close(link.CodeShutdown, "test over"); <-served })
	if _, err := n.parent.Register(t.Context(), &pb.RegisterRequest{Name: "e580", Offer: offer()}); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) report(t *testing.T, as *pb.Assignment, first uint64, states ...job.State) {
	t.Helper()
	st := &pb.InstanceStatus{InstanceId: as.GetInstanceId(), Generation: as.GetGeneration(), Incarnation: 1, State: string(states[len(states)-1])}
	for i, s := range states {
		st.Changes = append(st.Changes, &pb.Change{Seq: first + uint64(i), State: string(s), Reason: "test"})
	}
	if _, err := n.parent.ReportStatus(t.Context(), &pb.ReportStatusRequest{Statuses: []*pb.InstanceStatus{st}}); err != nil {
		t.Fatal(err)
	}
}

const file = `
api_version: v0.1
job_name: web
image: /bin/sh
image_runtime: native
requirements: {cpu: 1, memory: 100}
cluster_location: Garching
worker_node: e580
`

func TestTreeJoinsDeploysAndSurvivesItsRoot(t *testing.T) {
	dir := t.TempDir()
	ends, stopRoot := runRoot(t, filepath.Join(dir, "root"), "127.0.0.1:0")
	users, secret := client(t, ends)
	forCluster, err := users.CreateJoinToken(t.Context(), api.NewJoinToken{Kind: api.JoinCluster})
	if err != nil {
		t.Fatal(err)
	}
	clusterAddr, _ := runCluster(t, filepath.Join(dir, "cluster"), ends.Link, forCluster.Token)
	until(t, "the cluster", func() bool {
		all, err := users.Clusters(t.Context())
		return err == nil && len(all) == 1 && all[0].Ready
	})
	forNode, err := users.CreateJoinToken(t.Context(), api.NewJoinToken{Kind: api.JoinNode, Cluster: "muc"})
	if err != nil {
		t.Fatal(err)
	}
	n := joinNode(t, clusterAddr, forNode.Token)
	j, err := users.Deploy(t.Context(), []byte(file), "")
	if err != nil {
		t.Fatal(err)
	}
	as := await(t, n.given)
	n.report(t, as, 1, job.ScheduledNode, job.Running)
	state := func(want job.State) func() bool {
		return func() bool {
			now, err := users.Job(t.Context(), j.ID)
			return err == nil && now.State == want && now.Instances[0].Cluster.Name == "muc" && now.Instances[0].Node.Name == "e580"
		}
	}
	until(t, "RUNNING at the root", state(job.Running))

	stopRoot()
	n.report(t, as, 3, job.Failed) // what happens while the root is away is told later
	again, _ := runRoot(t, filepath.Join(dir, "root"), ends.Link.String())
	kept := ""
	if users, kept = client(t, again); kept != secret {
		t.Error("the admin's token has changed with a restart")
	}
	until(t, "FAILED at the root", state(job.Failed))
}

func TestJoinErrors(t *testing.T) {
	ends, _ := runRoot(t, t.TempDir(), "127.0.0.1:0")
	users, _ := client(t, ends)
	run := func(token string) error {
		return Run(t.Context(), Config{DataDir: t.TempDir(), Name: "x", Parents: []string{ends.Link.String()}, Token: token, LinkAddr: "127.0.0.1:0"}, discard)
	}
	if err := run(""); err == nil || !strings.Contains(err.Error(), "join token") {
		t.Errorf("without a token: %v", err)
	}
	if err := run("nonsense"); err == nil {
		t.Error("a nonsense token is taken")
	}
	forNode, err := users.CreateJoinToken(t.Context(), api.NewJoinToken{Kind: api.JoinNode})
	if err != nil {
		t.Fatal(err)
	}
	if err := run(forNode.Token); err == nil || !strings.Contains(err.Error(), "for a node") {
		t.Errorf("with a token for a node: %v", err)
	}
}
