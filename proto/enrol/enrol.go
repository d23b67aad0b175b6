// Package enrol is how a process below gets its certificate from its parent,
// and keeps it fresh: the child's side of Enrolment and Parent.Renew. The
// private key is made where it is used and never leaves it. The package keeps
// nothing itself; what it gets is in the identity.Store.
package enrol

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/link"
)

// Request is what a process joins with.
type Request struct {
	Store  *identity.Store
	Kind   identity.Kind // Cluster or Node
	Name   string        // for people
	Token  string        // as the parent issued it; it pins the authority
	Addrs  []string      // of parents, host:port, tried in order
	Clock  func() time.Time
	Logger *slog.Logger // nil discards
}

// Join trades the token for a certificate and stores that. Doing it again with
// the same key is allowed also for a token that is good for one use. The error
// names each address that was tried.
func Join(ctx context.Context, r Request) (identity.Peer, error) {
	token, err := identity.ParseToken(r.Token)
	if err != nil {
		return identity.Peer{}, fmt.Errorf("join: %w", err)
	}
	if len(r.Addrs) == 0 {
		return identity.Peer{}, errors.New("join: no address of a parent is given")
	}
	req := &pb.EnrolRequest{Token: r.Token, Name: r.Name, Kind: string(r.Kind)}
	if req.Csr, err = r.Store.CSR(r.Name); err != nil {
		return identity.Peer{}, fmt.Errorf("join: %w", err)
	}
	if r.Kind == identity.Cluster {
		if req.CaCsr, err = r.Store.CACSR(); err != nil {
			return identity.Peer{}, fmt.Errorf("join: %w", err)
		}
	}
	var failed []error
	for _, addr := range r.Addrs {
		resp, err := call(ctx, addr, token, r, req)
		if err != nil {
			failed = append(failed, fmt.Errorf("join %s: %w", addr, err))
			continue
		}
		if err := r.Store.Enrol(token.Pin(), resp.GetChain(), resp.GetCaChain()); err != nil {
			return identity.Peer{}, fmt.Errorf("join %s: %w", addr, err)
		}
		return r.Store.Peer(), nil
	}
	return identity.Peer{}, errors.Join(failed...)
}

// callTimeout bounds each call; the parent answers from its store.
const callTimeout = 30 * time.Second

func call(ctx context.Context, addr string, token identity.Token, r Request, req *pb.EnrolRequest) (*pb.EnrolResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sess, err := link.Dial(ctx, addr, link.Config{
		TLS:    identity.EnrolTLS(token.Pin(), identity.TLSOptions{Clock: r.Clock}),
		Logger: r.Logger,
	})
	if err != nil {
		return nil, err
	}
	defer sess.Close(link.CodeShutdown, "enrolled")
	return pb.NewDRPCEnrolmentClient(sess.Conn()).Enrol(ctx, req)
}

// How long to wait after a renewal: after one that failed a part of the life
// that is left, but not longer than the first; after any at least the second,
// so that a clock that is wrong by days does not make it renew without end.
const (
	retryRenewal = 10 * time.Minute
	leastPause   = time.Minute
)

// KeepFresh renews the certificate each time half of its life is over, over a
// session to the parent, until the context ends.
func KeepFresh(ctx context.Context, store *identity.Store, sess *link.Session, log *slog.Logger) {
	client := pb.NewDRPCParentClient(sess.Conn())
	jitter := rand.Float64()
	var earliest time.Time
	for {
		leaf := store.Leaf()
		if leaf == nil {
			return
		}
		due := identity.RenewAt(leaf.NotBefore, leaf.NotAfter, jitter)
		if due.Before(earliest) {
			due = earliest
		}
		if !waitUntil(ctx, due) {
			return
		}
		pause := leastPause
		if err := renew(ctx, store, client); err != nil {
			if ctx.Err() != nil {
				return
			}
			log.Warn("renew the certificate", "err", err, "expires", leaf.NotAfter)
			pause = max(leastPause, min(time.Until(leaf.NotAfter)/8, retryRenewal))
		} else {
			log.Info("certificate renewed", "expires", store.Leaf().NotAfter)
		}
		earliest = time.Now().Add(pause)
	}
}

func renew(ctx context.Context, store *identity.Store, client pb.DRPCParentClient) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	peer := store.Peer()
	csr, err := store.CSR(peer.Name)
	if err != nil {
		return err
	}
	req := &pb.RenewRequest{Csr: csr}
	if peer.Kind == identity.Cluster {
		if req.CaCsr, err = store.CACSR(); err != nil {
			return err
		}
	}
	resp, err := client.Renew(ctx, req)
	if err != nil {
		return err
	}
	return store.Renew(resp.GetChain(), resp.GetCaChain())
}

// maxSleep makes a long wait notice that the clock was set.
const maxSleep = time.Hour

func waitUntil(ctx context.Context, t time.Time) bool {
	for {
		left := time.Until(t)
		if left <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(min(left, maxSleep))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}
