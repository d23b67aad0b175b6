package link_test

import (
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgeio/edgeio/proto/link"
)

// path is a UDP relay like a home router: it can forget its mapping, and drop
// everything, and it counts what passes.
type path struct {
	tb      testing.TB
	front   *net.UDPConn
	parent  *net.UDPAddr
	dropped atomic.Bool
	bytes   atomic.Int64 // with IPv4 and UDP headers
	packets atomic.Int64

	mu    sync.Mutex
	child *net.UDPAddr
	back  *net.UDPConn
	ends  sync.WaitGroup
}

const ipUDPHeaders = 28

func newPath(tb testing.TB, parent net.Addr) *path {
	tb.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	p := &path{tb: tb, front: front, parent: parent.(*net.UDPAddr)}
	p.rebind()
	p.ends.Go(p.up)
	tb.Cleanup(func() {
		_ = front.Close()
		p.mu.Lock()
		_ = p.back.Close()
		p.mu.Unlock()
		p.ends.Wait()
	})
	return p
}

// rebind sends from a new port from now on.
func (p *path) rebind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.back != nil {
		_ = p.back.Close()
	}
	back, err := net.DialUDP("udp", nil, p.parent)
	if err != nil {
		p.tb.Error(err)
		return
	}
	p.back = back
	p.ends.Go(func() { p.down(back) })
}

func (p *path) pass(n int) bool {
	p.bytes.Add(int64(n + ipUDPHeaders))
	p.packets.Add(1)
	return !p.dropped.Load()
}

func (p *path) up() {
	buf := make([]byte, 2048)
	for {
		n, from, err := p.front.ReadFromUDP(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.child = from
		back := p.back
		p.mu.Unlock()
		if p.pass(n) {
			_, _ = back.Write(buf[:n])
		}
	}
}

func (p *path) down(back *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, err := back.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		child := p.child
		p.mu.Unlock()
		if p.pass(n) {
			_, _ = p.front.WriteToUDP(buf[:n], child)
		}
	}
}

func TestSurvivesChangeOfAddress(t *testing.T) {
	tr := newTree(t, nil)
	p := newPath(t, tr.listener.Addr())
	parent, up := tr.dial(t, p.front.LocalAddr().String(), tr.clientConfig())
	serve(t, parent, newChild())
	serve(t, up, newChild())
	for i := range 3 {
		before := parent.RemoteAddr().String()
		p.rebind()
		for _, s := range []*link.Session{up, parent} { // the child speaks first, as its keep-alive would
			if got, err := explain(timeout(t), s, "hello"); err != nil || got != "hello" {
				t.Fatalf("after change %d: %q, %v", i, got, err)
			}
		}
		// The parent follows once it has validated the new path.
		for parent.RemoteAddr().String() == before {
			if _, err := explain(timeout(t), up, "hello"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestSilentPeerIsGivenUp(t *testing.T) {
	tr := newTree(t, func(c *link.Config) { c.IdleTimeout = time.Second })
	p := newPath(t, tr.listener.Addr())
	parent, up := tr.dial(t, p.front.LocalAddr().String(), tr.clientConfig())
	p.dropped.Store(true)
	for _, s := range []*link.Session{parent, up} {
		wait(t, s.Done(), "the silent peer to be given up")
		if !errors.Is(s.Err(), link.Unavailable) {
			t.Errorf("ended by %v", s.Err())
		}
	}
}

func TestIdleSessionIsKept(t *testing.T) {
	tr := newTree(t, func(c *link.Config) { c.IdleTimeout, c.KeepAlive = time.Second, 200*time.Millisecond })
	parent, _ := tr.session(t)
	select {
	case <-parent.Done():
		t.Errorf("ended by %v", parent.Err())
	case <-time.After(3 * time.Second): // three times the idle timeout
	}
}

func TestRestartedParentIsNoticed(t *testing.T) {
	tr := newTree(t, func(c *link.Config) {
		c.ResetKey, c.KeepAlive = &[32]byte{1}, 200*time.Millisecond
	})
	p := newPath(t, tr.listener.Addr())
	_, up := tr.dial(t, p.front.LocalAddr().String(), tr.clientConfig())
	p.dropped.Store(true) // the parent dies without a word:
	p.rebind()            // its farewell goes to where nobody listens any more
	addr := tr.listener.Addr().String()
	if err := tr.listener.Close(); err != nil {
		t.Fatal(err)
	}
	tr.listener = tr.listen(t, addr)
	p.dropped.Store(false)
	// The child has nothing to say, and yet it notices.
	start := time.Now()
	wait(t, up.Done(), "the restart to be noticed")
	if time.Since(start) > 10*time.Second {
		t.Errorf("only noticed by timeout: %v", up.Err())
	}
	if !strings.Contains(up.Err().Error(), "restarted") {
		t.Errorf("ended by %v", up.Err())
	}
}

// idleTraffic returns the bytes that one keep-alive costs, both ways, with IP
// headers, measured over some of them once the path has calmed down.
func idleTraffic(tb testing.TB) float64 {
	const period = 250 * time.Millisecond
	const periods = 8
	tr := newTree(tb, func(c *link.Config) { c.KeepAlive = period })
	p := newPath(tb, tr.listener.Addr())
	parent, up := tr.dial(tb, p.front.LocalAddr().String(), tr.clientConfig())
	serve(tb, parent, newChild())
	// Calls drive the discovery of the path's MTU to its end, which happens once
	// per session and would otherwise go along with the first keep-alives.
	for range 300 {
		if _, err := explain(timeout(tb), up, "x"); err != nil {
			tb.Fatal(err)
		}
	}
	time.Sleep(2 * period)
	start, packets, begin := p.bytes.Load(), p.packets.Load(), time.Now()
	time.Sleep(periods * period)
	tb.Logf("%d packets in %d periods", p.packets.Load()-packets, periods)
	return float64(p.bytes.Load()-start) * float64(period) / float64(time.Since(begin))
}

func TestIdleTraffic(t *testing.T) {
	perKeepAlive := idleTraffic(t)
	rate := perKeepAlive * 8 / link.DefaultKeepAlive.Seconds()
	t.Logf("%.0f bytes per keep-alive: %.0f bit/s with one every %s", perKeepAlive, rate, link.DefaultKeepAlive)
	if perKeepAlive == 0 || rate > 250 {
		t.Errorf("an idle link costs %.0f bit/s, want at most 250", rate)
	}
}
