package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/proto/link"
)

// How long the check of a parent waits. A refusal of our certificate comes
// after the handshake, within a round trip.
const (
	parentTimeout  = 5 * time.Second
	refusalTimeout = time.Second
	hostTimeout    = 2 * time.Second
)

// parent finds whether a parent can be reached, and if not, what is in the way.
func parent(ctx context.Context, address string, s Subject) Finding {
	f := Finding{Check: "parent " + address, Level: Fail}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		f.Detail, f.Remedy = err.Error(), "write it as host:port"
		return f
	}
	if f, ok := resolves(ctx, host, f); !ok {
		return f
	}
	session, err := link.Dial(ctx, address, link.Config{TLS: s.TLS, HandshakeTimeout: parentTimeout})
	if err == nil {
		err = accepted(ctx, session)
	}
	switch {
	case err == nil:
		f.Level, f.Detail = OK, fmt.Sprintf("answers in %s", session.RTT().Round(time.Millisecond))
	case s.Leaf == nil && errors.Is(err, link.Denied): // it answered, and that is all we wanted
		f.Level, f.Detail = OK, "answers; whether it is the right one shows when the node joins"
	case errors.Is(err, link.Denied):
		f.Detail = err.Error()
		f.Remedy = `if the parent was set up anew or the node removed, join again with "edgeagent join --force"; else look at the clocks of both`
	default:
		f.Detail, f.Remedy = silence(ctx, address, err)
	}
	return f
}

func resolves(ctx context.Context, host string, f Finding) (Finding, bool) {
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	if _, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
		f.Detail, f.Remedy = "the name cannot be resolved: "+err.Error(), "look at /etc/resolv.conf, or use the parent's IP address"
		return f, false
	}
	return f, true
}

// accepted waits for a refusal, and ends the session.
func accepted(ctx context.Context, s *link.Session) error {
	defer s.Close(link.CodeShutdown, "only a check")
	timer := time.NewTimer(min(refusalTimeout, max(4*s.RTT(), 100*time.Millisecond)))
	defer timer.Stop()
	select {
	case <-s.Done():
		return s.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// silence finds out why nobody answers over QUIC.
func silence(ctx context.Context, address string, err error) (detail, remedy string) {
	switch {
	case refusesUDP(ctx, address):
		return "nobody listens on that UDP port", "is edgecontrol running there, and is the port right?"
	case answersTCP(ctx, address):
		return "the machine is there, but UDP to it is lost on the way", "let UDP through to that port in the firewalls between, and on the parent"
	}
	return "no answer: " + err.Error(), "is the machine on, the address right, and the network up? If so, let UDP through to that port"
}

// refusesUDP tells whether the machine says that the port is closed: then the
// network lets UDP through.
func refusesUDP(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", address)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }() // nothing is under way in it
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline) // cannot fail on an open socket
	if _, err := c.Write([]byte{0}); err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	_, err = c.Read(make([]byte, 1))
	return errors.Is(err, syscall.ECONNREFUSED)
}

// answersTCP tells whether the machine says anything at all.
func answersTCP(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		return c.Close() == nil
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
