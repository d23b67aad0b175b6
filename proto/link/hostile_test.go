package link_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/link"
)

// attack connects without any of the manners of package link.
func attack(t *testing.T, tr *tree, conf *tls.Config) (*quic.Conn, *link.Session) {
	t.Helper()
	conn, err := quic.DialAddr(timeout(t), tr.listener.Addr().String(), conf, &quic.Config{EnableDatagrams: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	s, err := tr.listener.Accept(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	return conn, s
}

func TestGarbageOnStreams(t *testing.T) {
	tr := newTree(t, func(c *link.Config) { c.HandshakeTimeout = 2 * time.Second })
	conn, s := attack(t, tr, tr.node.ClientTLS(identity.TLSOptions{}))
	serve(t, s, newChild())
	random := make([]byte, 20_000)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	for name, data := range map[string][]byte{
		"http":           []byte("GET / HTTP/1.1\r\n\r\n"),
		"random":         random,
		"zeros":          make([]byte, 10_000),
		"huge frame":     {0x03, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"invoke only":    {0x03, 1, 1, 2, 'h', 'i'},
		"message first":  {0x05, 1, 1, 2, 'h', 'i'},
		"half a request": {0x03, 1, 1, 200, '/'},
		"nothing":        {},
	} {
		t.Run(name, func(t *testing.T) {
			st, err := conn.OpenStreamSync(timeout(t))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = st.Write(append(data, 0)) // may be refused half-way
			_ = st.SetReadDeadline(time.Now().Add(15 * time.Second))
			_, err = io.ReadAll(st)
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				t.Error("the stream was left open")
			}
		})
	}
	if s.Err() != nil {
		t.Errorf("the session ended: %v", s.Err())
	}
}

func TestMessagesAreBounded(t *testing.T) {
	tr := newTree(t, func(c *link.Config) { c.MaxMessageBytes = 1 << 20 })
	cfg := tr.clientConfig()
	cfg.MaxMessageBytes = 1 << 30 // a child that does not keep to the limit
	cfg.MaxBufferedBytes = 1 << 30
	parent, up := tr.dial(t, tr.listener.Addr().String(), cfg)
	serve(t, parent, newChild())
	serve(t, up, newChild())
	big := string(bytes.Repeat([]byte("x"), 1<<20-100))
	if got, err := explain(timeout(t), up, big); err != nil || got != big {
		t.Errorf("a message just below the limit: %d bytes, %v", len(got), err)
	}
	if _, err := explain(timeout(t), up, big+big); err == nil {
		t.Error("a message over the limit of the receiver was taken")
	}
	if _, err := explain(timeout(t), parent, big+big); !errors.Is(err, link.Exhausted) {
		t.Errorf("a message over the own limit: %v", err)
	}
	if got, err := explain(timeout(t), up, "ok"); err != nil || got != "ok" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

func TestUnfinishedMessagesAreBounded(t *testing.T) {
	tr := newTree(t, func(c *link.Config) { c.MaxBufferedBytes = 1 << 20 })
	conn, s := attack(t, tr, tr.node.ClientTLS(identity.TLSOptions{}))
	serve(t, s, newChild())
	// Frames of 256 KiB that never end, on many streams. The one over the limit
	// is refused, and what it held is free again.
	part := append([]byte{0x02, 1, 1, 0x80, 0x80, 0x10}, make([]byte, 256<<10)...)
	refused := make(chan struct{}, 16)
	for range 16 {
		st, err := conn.OpenStreamSync(timeout(t))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_ = st.SetDeadline(time.Now().Add(15 * time.Second))
			_, _ = st.Write(part)
			if _, err := st.Read(make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) {
				refused <- struct{}{}
			}
		}()
	}
	wait(t, refused, "a stream to be refused")
}

func TestStreamsAreBounded(t *testing.T) {
	tr := newTree(t, func(c *link.Config) { c.MaxStreams = 4 })
	parent, up := tr.session(t)
	c := newChild()
	serve(t, parent, c)
	ctx, cancel := context.WithCancel(timeout(t))
	ended := make(chan error, 5)
	for range 5 {
		go func() { _, err := explain(ctx, up, "hang"); ended <- err }()
	}
	for range 4 {
		wait(t, c.started, "a call to begin")
	}
	short, stop := context.WithTimeout(timeout(t), 200*time.Millisecond)
	defer stop()
	if _, err := explain(short, up, "one more"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call over the limit: %v", err)
	}
	cancel()
	for range 5 {
		<-ended
	}
	if got, err := explain(timeout(t), up, "room again"); err != nil {
		t.Errorf("after the others ended: %q, %v", got, err)
	}
}

func TestAnonymousPeers(t *testing.T) {
	tr := newTree(t, func(c *link.Config) {
		c.AnonymousLife = 3 * time.Second
		c.MaxAnonymous = 1
	})
	cfg := tr.cfg
	cfg.TLS = identity.EnrolTLS(tr.authority.Pin(), identity.TLSOptions{})
	parent, up := tr.dial(t, tr.listener.Addr().String(), cfg)
	c := newChild()
	serve(t, parent, c)
	if !parent.Peer().Anonymous() {
		t.Fatalf("peer is %v", parent.Peer())
	}
	if got, err := explain(timeout(t), up, "who"); err != nil || got != "" {
		t.Errorf("who: %q, %v", got, err)
	}
	if _, err := explain(timeout(t), up, string(make([]byte, 65<<10))); err == nil {
		t.Error("a large message was taken")
	}

	second, err := link.Dial(timeout(t), tr.listener.Addr().String(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	accept, cancel := context.WithCancel(timeout(t))
	accepted := make(chan struct{})
	go func() { defer close(accepted); _, _ = tr.listener.Accept(accept) }()
	wait(t, second.Done(), "the second anonymous peer to be turned away")
	cancel()
	<-accepted
	if ce := new(link.CloseError); !errors.As(second.Err(), &ce) || ce.Code != link.CodeBusy {
		t.Errorf("the second ended by %v", second.Err())
	}

	ended := make(chan error, 2)
	for range 2 {
		go func() { _, err := explain(timeout(t), up, "hang"); ended <- err }()
		wait(t, c.started, "a call to begin")
	}
	if _, err := explain(timeout(t), up, "third"); !errors.Is(err, link.Unavailable) {
		t.Errorf("a third call: %v", err)
	}
	for range 2 {
		<-ended
	}
	if ce := new(link.CloseError); !errors.As(up.Err(), &ce) || ce.Code != link.CodeAnonymous {
		t.Errorf("ended by %v", up.Err())
	}
}

func TestHandshakeThatNeverEnds(t *testing.T) {
	hole, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}) // never answers
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	tr := newTree(t, func(c *link.Config) { c.HandshakeTimeout = 300 * time.Millisecond })
	start := time.Now()
	_, err = link.Dial(timeout(t), hole.LocalAddr().String(), tr.clientConfig())
	if !errors.Is(err, link.Unavailable) || time.Since(start) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
}

func TestRetryAboveTheRate(t *testing.T) {
	tr := newTree(t, func(c *link.Config) { c.HandshakeRate = 1 })
	for range 3 { // the later ones have to prove their address, and can
		tr.session(t)
	}
}

func TestTooManyConnections(t *testing.T) {
	tr := newTree(t, func(c *link.Config) { c.MaxConnections = 1 })
	_, up := tr.session(t)
	if _, err := link.Dial(timeout(t), tr.listener.Addr().String(), tr.clientConfig()); !errors.Is(err, link.Unavailable) {
		t.Errorf("second connection: %v", err)
	}
	if up.Err() != nil {
		t.Errorf("the first suffered: %v", up.Err())
	}
}

func TestRefusedCertificate(t *testing.T) {
	tr := newTree(t, nil)
	other := newTree(t, nil)
	cfg := other.clientConfig()
	_, err := link.Dial(timeout(t), tr.listener.Addr().String(), cfg)
	if !errors.Is(err, link.Denied) {
		t.Errorf("server of another authority: %v", err)
	}
	// A child whose own certificate is foreign but which trusts anyone learns of
	// it when it calls.
	cfg.TLS.VerifyConnection = nil
	s, err := link.Dial(timeout(t), tr.listener.Addr().String(), cfg)
	if err == nil {
		defer s.Close(link.CodeShutdown, "")
		_, err = edgeiov1.NewDRPCParentClient(s.Conn()).Leave(timeout(t), &edgeiov1.LeaveRequest{})
	}
	if !errors.Is(err, link.Denied) {
		t.Errorf("foreign certificate: %v", err)
	}
}

func TestCallsLeaveNothingCounted(t *testing.T) {
	tr := newTree(t, nil)
	parent, up := tr.session(t)
	c := newChild()
	serve(t, parent, c)
	for range 200 {
		if _, err := explain(timeout(t), up, "x"); err != nil {
			t.Fatal(err)
		}
		_, _ = explain(timeout(t), up, "conflict")
		logs, err := edgeiov1.NewDRPCChildClient(up.Conn()).Logs(timeout(t), &edgeiov1.LogsRequest{Tail: 3})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = logs.Recv()
		}
	}
	up.Close(link.CodeShutdown, "")
	wait(t, parent.Done(), "the end")
	for deadline := time.Now().Add(10 * time.Second); up.Buffered()+parent.Buffered() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still counted: %d bytes by the child, %d by the parent", up.Buffered(), parent.Buffered())
		}
	}
}
