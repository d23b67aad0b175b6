package uplink

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/edgeio/edgeio/agent/workload"
	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/link"
)

// Bounds of reporting.
const (
	reportBatch = 200     // instances in one message
	reportBytes = 1 << 20 // of one message, well below the limit of the link
	retryAfter  = time.Second
	// offerDelay gathers changes of the offer. It is in nobody's way: the
	// answer to Apply brings the offer with it.
	offerDelay = 50 * time.Millisecond
)

// report sends what has changed, one message at a time: the next one carries
// all that changed while the last was under way.
func (u *Uplink) report(ctx context.Context, parent edgeiov1.DRPCParentClient) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-u.cfg.News.News():
		}
		taken := u.cfg.News.TakeNews(reportBatch)
		if len(taken) == 0 {
			continue
		}
		if err := u.sendStatuses(ctx, parent, taken); err != nil {
			if lasting(ctx, err) {
				return fmt.Errorf("report status: %w", err)
			}
			u.log.Warn("status not reported; trying again", "error", err)
			if !pause(ctx, jittered(retryAfter)) {
				return context.Cause(ctx)
			}
		}
	}
}

func (u *Uplink) sendStatuses(ctx context.Context, parent edgeiov1.DRPCParentClient, taken []workload.Status) error {
	var req edgeiov1.ReportStatusRequest
	size, n := 0, 0
	for ; n < len(taken); n++ {
		st := u.wireStatus(taken[n])
		size += proto.Size(st)
		if n > 0 && size > reportBytes {
			break
		}
		req.Statuses = append(req.Statuses, st)
	}
	u.cfg.News.ReportAgain(taken[n:])
	taken = taken[:n]

	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := parent.ReportStatus(callCtx, &req); err != nil {
		u.cfg.News.ReportAgain(taken)
		return err
	}
	acks := make([]workload.Acknowledgement, len(taken))
	for i, st := range taken {
		acks[i] = workload.Acknowledgement{ID: st.ID, Generation: st.Generation, Seq: st.Seq}
	}
	u.cfg.News.Acknowledge(acks)
	return nil
}

// reportOffers sends the offer when it has changed.
func (u *Uplink) reportOffers(ctx context.Context, parent edgeiov1.DRPCParentClient) error {
	var last *edgeiov1.UpdateOfferRequest
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-u.cfg.News.OfferChanged():
		}
		if !pause(ctx, offerDelay) {
			return context.Cause(ctx)
		}
		req := u.offerRequest()
		if sameOffer(last, req) {
			continue
		}
		for {
			last = req
			err := u.updateOffer(ctx, parent, req)
			if err == nil {
				break
			}
			if lasting(ctx, err) {
				return fmt.Errorf("update the offer: %w", err)
			}
			u.log.Warn("offer not updated; trying again", "error", err)
			if !pause(ctx, jittered(retryAfter)) {
				return context.Cause(ctx)
			}
			req = u.offerRequest()
		}
	}
}

func (u *Uplink) offerRequest() *edgeiov1.UpdateOfferRequest {
	o := u.cfg.News.Offer()
	return &edgeiov1.UpdateOfferRequest{Offer: u.wireOffer(o), Runtimes: wireRuntimes(o.Runtimes)}
}

func (u *Uplink) updateOffer(ctx context.Context, parent edgeiov1.DRPCParentClient, req *edgeiov1.UpdateOfferRequest) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := parent.UpdateOffer(ctx, req)
	return err
}

func sameOffer(a, b *edgeiov1.UpdateOfferRequest) bool {
	if a == nil {
		return false
	}
	a = proto.Clone(a).(*edgeiov1.UpdateOfferRequest)
	a.Offer.Sequence = b.GetOffer().GetSequence()
	return proto.Equal(a, b)
}

// sendUsage sends samples as datagrams. The first is sent at once.
func (u *Uplink) sendUsage(ctx context.Context, s *link.Session, interval time.Duration) error {
	if u.cfg.Sample == nil || interval <= 0 {
		return nil
	}
	for {
		if sample, err := u.cfg.Sample(ctx); err != nil {
			u.log.Debug("usage not measured", "error", err)
		} else if b, err := proto.Marshal(u.wireUsage(sample, time.Now())); err == nil {
			// What does not go out is not missed: the next one comes soon.
			if err := s.SendDatagram(b); err != nil {
				u.log.Debug("usage not sent", "error", err)
			}
		}
		if !pause(ctx, jittered(interval)) {
			return context.Cause(ctx)
		}
	}
}

// jittered returns d, give or take a tenth.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}
