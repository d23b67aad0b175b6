package uplink

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
)

// moody is a parent that refuses the first offer, never answers the second
// and takes the third.
type moody struct {
	edgeiov1.DRPCParentClient
	calls int
	taken chan struct{}
}

func (p *moody) UpdateOffer(ctx context.Context, _ *edgeiov1.UpdateOfferRequest) (*edgeiov1.UpdateOfferResponse, error) {
	switch p.calls++; p.calls {
	case 1:
		return nil, errors.New("not now")
	case 2:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	close(p.taken)
	return &edgeiov1.UpdateOfferResponse{}, nil
}

// changing is News of which only the offer changes.
type changing struct {
	offering
	c chan struct{}
}

func (n changing) OfferChanged() <-chan struct{} { return n.c }

// A parent that hangs while an offer is sent again must not end the offers.
func TestOfferIsSentAgain(t *testing.T) {
	id := identitytest.NewAuthority(t, time.Now()).Enrol(t, identity.Node, "n", time.Now())
	synctest.Test(t, func(t *testing.T) {
		n := changing{c: make(chan struct{}, 1)}
		u := &Uplink{cfg: Config{News: n, Identity: id}, log: slog.New(slog.DiscardHandler)}
		p := &moody{taken: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- u.reportOffers(ctx, p) }()
		n.c <- struct{}{}
		select {
		case <-p.taken:
		case <-time.After(2*callTimeout + time.Minute):
			t.Errorf("no offer arrived in %d calls", p.calls)
		}
		cancel()
		<-done
	})
}
