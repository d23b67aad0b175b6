package orchestrator

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edgeio/edgeio/control/scheduler"
	"github.com/edgeio/edgeio/control/store"
	"github.com/edgeio/edgeio/proto/identity"
)

// BenchmarkDeploy is 100 jobs given at once to an orchestrator with 5,000
// nodes, until all are stored and placed.
func BenchmarkDeploy(b *testing.B) {
	st, err := store.OpenBolt(b.TempDir() + "/bench.db")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	s := &simCore{cfg: Config{Tier: Root, ID: "root", Name: "root", Store: st, Strategy: scheduler.FirstFit, Logger: slog.New(slog.DiscardHandler)}}
	if err := s.start(); err != nil {
		b.Fatal(err)
	}
	defer s.stop()
	d := &dice{rng: rand.New(rand.NewPCG(1, 1))}
	var faulty atomic.Bool
	var connected sync.WaitGroup
	for i := range 5000 {
		name := fmt.Sprintf("node-%05d", i)
		n := &simNode{
			peer: identity.Peer{Kind: identity.Node, ID: "n-" + name, Name: name}, parent: s, held: map[string]*simInstance{},
			capacity: scheduler.Resources{CPUMillis: 4000, MemoryBytes: 4e9 + int64(i)*4096, DiskBytes: 4e9},
		}
		connected.Go(func() {
			if err := n.connect(d, &faulty); err != nil {
				b.Error(err)
			}
		})
		defer n.disconnect()
	}
	connected.Wait()
	b.Run("100of5000", func(b *testing.B) {
		for b.Loop() {
			var done sync.WaitGroup
			for range 100 {
				done.Go(func() {
					if _, err := s.core.Deploy(context.Background(), testJob(), "bench", ""); err != nil {
						b.Error(err)
					}
				})
			}
			done.Wait()
		}
	})
	b.Run("offer5000", func(b *testing.B) {
		for b.Loop() {
			s.core.Offer()
		}
	})
	b.Run("children5000", func(b *testing.B) {
		for b.Loop() {
			s.core.Children()
		}
	})
}
