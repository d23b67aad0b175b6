package link_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcmux"

	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
	"github.com/edgeio/edgeio/proto/link"
)

// child is a service for tests: what a call does depends on its argument.
type child struct {
	edgeiov1.DRPCChildUnimplementedServer
	started  chan struct{}
	canceled chan struct{}
}

func newChild() *child {
	return &child{started: make(chan struct{}, 100), canceled: make(chan struct{}, 100)}
}

func (c *child) Explain(ctx context.Context, in *edgeiov1.ExplainRequest) (*edgeiov1.ExplainResponse, error) {
	switch string(in.Job) {
	case "who":
		return &edgeiov1.ExplainResponse{Accepting: []string{link.PeerFromContext(ctx).ID}}, nil
	case "hang":
		c.started <- struct{}{}
		<-ctx.Done()
		c.canceled <- struct{}{}
		return nil, ctx.Err()
	case "panic":
		panic("as asked")
	case "conflict":
		return nil, link.Error(link.Conflict, "base revision %d is not mine", 7)
	case "plain":
		return nil, errors.New("disk on fire")
	}
	return &edgeiov1.ExplainResponse{Accepting: []string{string(in.Job)}}, nil
}

func (c *child) Logs(in *edgeiov1.LogsRequest, stream edgeiov1.DRPCChild_LogsStream) error {
	for i := int32(0); in.Follow || i < in.Tail; i++ {
		if err := stream.Send(&edgeiov1.LogChunk{Data: bytes.Repeat([]byte("x"), 1000)}); err != nil {
			c.canceled <- struct{}{}
			return err
		}
	}
	return nil
}

func (c *child) Exec(stream edgeiov1.DRPCChild_ExecStream) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.Send(&edgeiov1.ExecOutput{Exited: true, ExitCode: 3})
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&edgeiov1.ExecOutput{Stdout: in.Stdin}); err != nil {
			return err
		}
	}
}

func mux(tb testing.TB, c edgeiov1.DRPCChildServer) *drpcmux.Mux {
	tb.Helper()
	m := drpcmux.New()
	if err := edgeiov1.DRPCRegisterChild(m, c); err != nil {
		tb.Fatal(err)
	}
	return m
}

// tree is a root that listens and one node, both certified.
type tree struct {
	authority  *identitytest.Authority
	root, node *identity.Store
	listener   *link.Listener
	cfg        link.Config // of both ends, less TLS
}

func newTree(tb testing.TB, change func(*link.Config)) *tree {
	tb.Helper()
	t := &tree{authority: identitytest.NewAuthority(tb, time.Now())}
	t.root = t.authority.Enrol(tb, identity.Root, "root", time.Now())
	t.node = t.authority.Enrol(tb, identity.Node, "node", time.Now())
	t.cfg = link.Config{Logger: slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&t.cfg)
	}
	t.listener = t.listen(tb, "127.0.0.1:0")
	return t
}

func (t *tree) listen(tb testing.TB, addr string) *link.Listener {
	tb.Helper()
	cfg := t.cfg
	cfg.TLS = t.root.ServerTLS(identity.TLSOptions{})
	l, err := link.Listen(addr, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Errorf("close listener: %v", err)
		}
	})
	return l
}

func (t *tree) clientConfig() link.Config {
	cfg := t.cfg
	cfg.TLS = t.node.ClientTLS(identity.TLSOptions{})
	return cfg
}

// dial returns both ends of a new session.
func (t *tree) dial(tb testing.TB, addr string, cfg link.Config) (parent, child *link.Session) {
	tb.Helper()
	ctx := timeout(tb)
	up, err := link.Dial(ctx, addr, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { up.Close(link.CodeShutdown, "end of test") })
	down, err := t.listener.Accept(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	return down, up
}

func (t *tree) session(tb testing.TB) (parent, child *link.Session) {
	tb.Helper()
	return t.dial(tb, t.listener.Addr().String(), t.clientConfig())
}

func timeout(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

// serve serves until the test ends.
func serve(tb testing.TB, s *link.Session, c edgeiov1.DRPCChildServer) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	m := mux(tb, c)
	go func() { defer close(done); _ = s.Serve(ctx, m) }()
	tb.Cleanup(func() { cancel(); <-done })
}

func wait(tb testing.TB, c <-chan struct{}, what string) {
	tb.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		tb.Fatalf("timed out waiting for %s", what)
	}
}

func explain(ctx context.Context, s *link.Session, what string) (string, error) {
	out, err := edgeiov1.NewDRPCChildClient(s.Conn()).Explain(ctx, &edgeiov1.ExplainRequest{Job: []byte(what)})
	if err != nil {
		return "", err
	}
	return out.Accepting[0], nil
}

func TestBothEndsCall(t *testing.T) {
	tr := newTree(t, nil)
	parent, up := tr.session(t)
	serve(t, parent, newChild())
	serve(t, up, newChild())
	for _, end := range []struct {
		caller *link.Session
		want   identity.Peer
	}{{parent, tr.root.Peer()}, {up, tr.node.Peer()}} {
		got, err := explain(timeout(t), end.caller, "who")
		if err != nil || got != end.want.ID {
			t.Errorf("called by %s: the handler saw %q, error %v", end.want, got, err)
		}
	}
	if parent.Peer() != tr.node.Peer() || up.Peer() != tr.root.Peer() {
		t.Errorf("peers: %v and %v", parent.Peer(), up.Peer())
	}
	if up.RTT() <= 0 || up.RemoteAddr().String() != tr.listener.Addr().String() {
		t.Errorf("RTT %v, remote address %v", up.RTT(), up.RemoteAddr())
	}
}

func TestErrorsKeepTheirClass(t *testing.T) {
	tr := newTree(t, nil)
	parent, up := tr.session(t)
	serve(t, up, newChild())
	cases := []struct {
		call string
		want link.Class
		text string
	}{
		{"conflict", link.Conflict, "base revision 7 is not mine"},
		{"plain", link.Internal, "disk on fire"},
		{"panic", link.Internal, "/edgeio.v1.Child/Explain: internal error; see the log of the peer"},
	}
	for _, c := range cases {
		_, err := explain(timeout(t), parent, c.call)
		if !errors.Is(err, c.want) || link.ClassOf(err) != c.want || err.Error() != c.text {
			t.Errorf("%s: got %q of class %v, want %q of class %v", c.call, err, link.ClassOf(err), c.text, c.want)
		}
	}
	_, err := edgeiov1.NewDRPCChildClient(parent.Conn()).ListNodes(timeout(t), &edgeiov1.ListNodesRequest{})
	if !errors.Is(err, link.Unsupported) {
		t.Errorf("unimplemented call: %v", err)
	}
	_, err = edgeiov1.NewDRPCParentClient(parent.Conn()).Leave(timeout(t), &edgeiov1.LeaveRequest{})
	if !errors.Is(err, link.Unsupported) {
		t.Errorf("unknown service: %v", err)
	}
}

// hasty answers with an error before it has read the request.
type hasty struct{}

func (hasty) HandleRPC(drpc.Stream, string) error { return link.Error(link.Denied, "not you") }

// The answer counts also where the peer does not want the rest of the request,
// and the caller is still writing that.
func TestErrorBeforeTheWholeRequest(t *testing.T) {
	tr := newTree(t, nil)
	parent, up := tr.session(t)
	ctx := timeout(t)
	served := make(chan error, 1)
	go func() { served <- up.Serve(ctx, hasty{}) }()
	for range 20 {
		for _, size := range []int{0, 3 << 20} {
			_, err := explain(ctx, parent, strings.Repeat("x", size))
			if !errors.Is(err, link.Denied) || err.Error() != "not you" {
				t.Fatalf("request of %d bytes: got %v", size, err)
			}
		}
	}
	parent.Close(link.CodeShutdown, "done")
	<-served
}

func TestStreams(t *testing.T) {
	tr := newTree(t, nil)
	parent, up := tr.session(t)
	c := newChild()
	serve(t, up, c)
	client := edgeiov1.NewDRPCChildClient(parent.Conn())

	logs, err := client.Logs(timeout(t), &edgeiov1.LogsRequest{Tail: 5000})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		chunk, err := logs.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("after %d: %v", n, err)
		}
		if len(chunk.Data) != 1000 {
			t.Fatalf("chunk of %d bytes", len(chunk.Data))
		}
		n++
	}
	if n != 5000 {
		t.Errorf("got %d of 5000 chunks", n)
	}

	exec, err := client.Exec(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Send(&edgeiov1.ExecInput{Stdin: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Recv(); err != nil || string(out.Stdout) != "hello" {
		t.Fatalf("echo: %v, %v", out, err)
	}
	if err := exec.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Recv(); err != nil || out.ExitCode != 3 {
		t.Fatalf("exit: %v, %v", out, err)
	}
	if _, err := exec.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("end: %v", err)
	}
}

func TestCancelReachesTheOtherEnd(t *testing.T) {
	tr := newTree(t, nil)
	parent, up := tr.session(t)
	c := newChild()
	serve(t, up, c)

	ctx, cancel := context.WithCancel(timeout(t))
	failed := make(chan error, 1)
	go func() { _, err := explain(ctx, parent, "hang"); failed <- err }()
	wait(t, c.started, "the call to begin")
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: %v", err)
	}
	wait(t, c.canceled, "the handler to be cancelled")

	ctx, cancel = context.WithCancel(timeout(t))
	logs, err := edgeiov1.NewDRPCChildClient(parent.Conn()).Logs(ctx, &edgeiov1.LogsRequest{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := logs.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel() // the sender is stuck in flow control by now, or about to be
	wait(t, c.canceled, "the stream to be cancelled")

	if got, err := explain(timeout(t), parent, "still here"); err != nil || got != "still here" {
		t.Errorf("the session suffered: %q, %v", got, err)
	}
}

func TestCloseTellsWhy(t *testing.T) {
	tr := newTree(t, nil)
	parent, up := tr.session(t)
	c := newChild()
	serve(t, up, c)
	failed := make(chan error, 1)
	go func() { _, err := explain(timeout(t), parent, "hang"); failed <- err }()
	wait(t, c.started, "the call to begin")
	parent.Close(link.CodeRevoked, "revoked by admin")
	wait(t, up.Done(), "the end")
	for name, got := range map[string]error{"here": parent.Err(), "there": up.Err(), "call": <-failed} {
		var ce *link.CloseError
		if !errors.As(got, &ce) || ce.Code != link.CodeRevoked || ce.Reason != "revoked by admin" || ce.Remote != (name == "there") {
			t.Errorf("%s: %v", name, got)
		}
		if !errors.Is(got, link.Denied) {
			t.Errorf("%s: class %v", name, link.ClassOf(got))
		}
	}
	wait(t, c.canceled, "the handler to be cancelled")
	if _, err := explain(timeout(t), up, "late"); !errors.Is(err, link.Denied) {
		t.Errorf("call on a closed session: %v", err)
	}
	if err := up.SendDatagram([]byte("late")); err == nil {
		t.Error("datagram on a closed session was taken")
	}
}

func TestDatagrams(t *testing.T) {
	tr := newTree(t, nil)
	parent, up := tr.session(t)
	if err := up.SendDatagram([]byte("sample")); err != nil {
		t.Fatal(err)
	}
	got, err := parent.ReceiveDatagram(timeout(t))
	if err != nil || string(got) != "sample" {
		t.Fatalf("got %q, %v", got, err)
	}
	if err := up.SendDatagram(make([]byte, 5000)); !errors.Is(err, link.Exhausted) {
		t.Errorf("too large: %v", err)
	}
}
