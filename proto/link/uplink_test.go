package link_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/link"
)

// runUplink runs u until the test ends; sessions come out of the channel, and
// live until the session ends or release is closed.
func runUplink(t *testing.T, u *link.Uplink, release <-chan struct{}) <-chan *link.Session {
	t.Helper()
	sessions := make(chan *link.Session, 10)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- u.Run(ctx, func(ctx context.Context, s *link.Session) error {
			sessions <- s
			select {
			case <-ctx.Done():
			case <-release:
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	return sessions
}

func next(t *testing.T, sessions <-chan *link.Session) *link.Session {
	t.Helper()
	select {
	case s := <-sessions:
		return s
	case <-time.After(20 * time.Second):
		t.Fatal("timed out waiting for a session")
		return nil
	}
}

func TestUplinkComesBackAndFallsBack(t *testing.T) {
	tr := newTree(t, func(c *link.Config) { c.HandshakeTimeout = time.Second })
	hole, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	u := &link.Uplink{
		Addrs:   func() []string { return []string{hole.LocalAddr().String(), tr.listener.Addr().String()} },
		Config:  tr.clientConfig(),
		Logger:  tr.cfg.Logger,
		Backoff: link.Backoff{Base: 10 * time.Millisecond, Cap: 50 * time.Millisecond},
	}
	sessions := runUplink(t, u, nil)
	for range 3 {
		parent, err := tr.listener.Accept(timeout(t))
		if err != nil {
			t.Fatal(err)
		}
		s := next(t, sessions)
		st := u.State()
		if !st.Connected || st.Address != tr.listener.Addr().String() || st.Parent != tr.root.Peer() {
			t.Errorf("state %+v", st)
		}
		parent.Close(link.CodeReplaced, "replaced by a newer connection")
		wait(t, s.Done(), "the end")
	}
	if err := u.State().LastError; err != nil && !strings.Contains(err.Error(), "replaced by a newer connection") {
		t.Errorf("last error: %v", err)
	}
}

func TestUplinkSaysWhatItTried(t *testing.T) {
	tr := newTree(t, func(c *link.Config) { c.HandshakeTimeout = 200 * time.Millisecond })
	stranger := newTree(t, nil)
	hole, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	addrs := []string{hole.LocalAddr().String(), "no-port", stranger.listener.Addr().String()}
	u := &link.Uplink{Addrs: func() []string { return addrs }, Config: tr.clientConfig(), Logger: tr.cfg.Logger}
	runUplink(t, u, nil)
	st := eventually(t, u, func(st link.UplinkState) bool { return st.LastError != nil })
	for _, want := range append(addrs, "no answer", "host:port", "another authority") {
		if !strings.Contains(st.LastError.Error(), want) {
			t.Errorf("%q is not in: %v", want, st.LastError)
		}
	}
}

func TestUplinkRefusedWaitsLong(t *testing.T) {
	tr := newTree(t, nil)
	stranger := newTree(t, nil)
	u := &link.Uplink{
		Addrs:  func() []string { return []string{stranger.listener.Addr().String()} },
		Config: tr.clientConfig(), Logger: tr.cfg.Logger,
		Backoff: link.Backoff{Base: time.Millisecond, Cap: time.Hour},
	}
	runUplink(t, u, nil)
	st := eventually(t, u, func(st link.UplinkState) bool { return !st.Retry.IsZero() })
	if wait := time.Until(st.Retry); wait < 29*time.Minute || !errors.Is(st.LastError, link.Denied) {
		t.Errorf("tries again in %s after %v", wait, st.LastError)
	}
}

func eventually(t *testing.T, u *link.Uplink, ok func(link.UplinkState) bool) link.UplinkState {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if st := u.State(); ok(st) {
			return st
		}
	}
	t.Fatalf("state stays %+v", u.State())
	return link.UplinkState{}
}

func TestRenewedCertificateIsUsedNext(t *testing.T) {
	tr := newTree(t, nil)
	tr.session(t)
	tr.authority.Issue(t, tr.node, identity.Node, "renamed", time.Now())
	parent, _ := tr.session(t)
	if parent.Peer().Name != "renamed" {
		t.Errorf("peer is %v", parent.Peer())
	}
}
