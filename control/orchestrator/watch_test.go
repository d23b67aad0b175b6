package orchestrator

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"

	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/job"
	"github.com/edgeio/edgeio/proto/link"
)

// A watcher that sleeps through more events than are kept in memory still gets
// each of them once, and holds nobody up.
func TestASlowWatcherMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimCore(Root, "root")
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		defer s.stop()
		ctx, cancel := context.WithCancel(t.Context())
		wake := make(chan struct{})
		var seen []uint64
		ended := make(chan error, 1)
		go func() {
			ended <- s.core.Watch(ctx, EventQuery{Follow: true}, func(ev Event) error {
				<-wake
				seen = append(seen, ev.Revision)
				return nil
			})
		}()
		const events = maxRecent + 500
		for range events / 500 {
			err := s.core.do(ctx, func(tx *txn) error {
				for range 250 {
					j := testJob()
					in := &Instance{ID: tx.newJobID() + "-0", Desired: DesiredRunning, parsed: j}
					if err := tx.move(in, Change{State: job.Requested}); err != nil {
						return err
					}
					if err := tx.terminated(in, "test"); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		close(wake)
		synctest.Wait()
		if len(seen) != events/500*500 {
			t.Errorf("%d events", len(seen))
		}
		for i, revision := range seen {
			if revision != uint64(i+1) {
				t.Fatalf("event %d has revision %d", i, revision)
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("watch ended with %v", err)
		}
	})
}

func TestHistoriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimCore(Root, "root")
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		defer s.stop()
		in := &Instance{ID: "j-0", JobID: "j", Desired: DesiredRunning, State: job.ScheduledNode, parsed: testJob()}
		for i := range 2000 {
			next := *in
			in = &next
			to := job.Running
			if i%2 == 1 {
				to = job.ScheduledNode
			}
			if err := s.core.do(t.Context(), func(tx *txn) error { return tx.move(in, Change{State: to}) }); err != nil {
				t.Fatal(err)
			}
		}
		events, err := s.core.History(t.Context(), "j")
		if err != nil || len(events) < maxHistory || len(events) > 2*maxHistory || events[len(events)-1].Revision != 2000 {
			t.Errorf("%d events are kept, %v", len(events), err)
		}
	})
}

// The offers of a connection that was replaced count for nothing, however high
// their sequence: the new one begins at 1 again.
func TestAnOfferOfAReplacedSessionIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimCore(Root, "root")
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		defer s.stop()
		var faulty atomic.Bool
		open := func() (*session, *hop) {
			h := &hop{
				peer: identity.Peer{Kind: identity.Node, ID: "n-1", Name: "n1"}, child: &simNode{held: map[string]*simInstance{}},
				dice: &dice{rng: rand.New(rand.NewPCG(1, 1))}, faulty: &faulty, done: make(chan struct{}),
			}
			se := &session{server: s.server, link: h, childID: "n-1"}
			if _, err := se.Register(t.Context(), &pb.RegisterRequest{Name: "n1", Offer: nodeOffer(2)}); err != nil {
				t.Fatal(err)
			}
			return se, h
		}
		old, _ := open()
		present, h := open()
		late := nodeOffer(64)
		late.Sequence = 1000
		if _, err := old.UpdateOffer(t.Context(), &pb.UpdateOfferRequest{Offer: late}); err != nil {
			t.Fatal(err)
		}
		fresh := nodeOffer(3)
		fresh.Sequence = 2
		if _, err := present.UpdateOffer(t.Context(), &pb.UpdateOfferRequest{Offer: fresh}); err != nil {
			t.Fatal(err)
		}
		if free := s.core.Offer().GetFree().GetCpuMillis(); free != 3000 {
			t.Errorf("%d millicores are free", free)
		}
		old.end()
		if !s.core.Children()[0].Connected {
			t.Error("the end of the old connection ended the new one")
		}
		h.Close(link.CodeShutdown, "")
		present.end()
	})
}

func TestACommandWhoseCallerHasGoneIsNotCarriedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimCore(Root, "root")
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		defer s.stop()
		hold, began := make(chan struct{}), make(chan struct{})
		go func() { _ = s.core.do(t.Context(), func(*txn) error { close(began); <-hold; return nil }) }()
		<-began
		ctx, cancel := context.WithCancel(t.Context())
		cancelled := make(chan error, 1)
		go func() {
			_, err := s.core.Deploy(ctx, testJob(), "me", "")
			cancelled <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-cancelled; !errors.Is(err, context.Canceled) {
			t.Errorf("deploy: %v", err)
		}
		close(hold)
		synctest.Wait()
		if n := len(s.core.Jobs()); n != 0 {
			t.Errorf("%d jobs are stored", n)
		}
	})
}

// One record that is too large fails its own command, not those that share its commit.
func TestAnOversizedRecordFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimCore(Root, "root")
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		defer s.stop()
		hold, began := make(chan struct{}), make(chan struct{})
		go func() { _ = s.core.do(t.Context(), func(*txn) error { close(began); <-hold; return nil }) }()
		<-began
		large, small := make(chan error, 1), make(chan error, 1)
		go func() {
			large <- s.core.do(t.Context(), func(tx *txn) error {
				tx.setChild(&Child{ID: "n-1", Name: string(make([]byte, 2<<20))})
				return nil
			})
		}()
		go func() {
			_, err := s.core.Deploy(t.Context(), testJob(), "me", "")
			small <- err
		}()
		synctest.Wait()
		close(hold)
		if err := <-large; !errors.Is(err, link.Exhausted) {
			t.Errorf("a record of 2 MiB: %v", err)
		}
		if err := <-small; err != nil {
			t.Errorf("a deploy beside it: %v", err)
		}
		if len(s.core.Children()) != 0 || len(s.core.Jobs()) != 1 {
			t.Errorf("%d children and %d jobs", len(s.core.Children()), len(s.core.Jobs()))
		}
	})
}
