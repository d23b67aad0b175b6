package link_test

import (
	"log/slog"
	"runtime"
	"testing"

	"github.com/edgeio/edgeio/proto/link"
)

func quiet(c *link.Config) { c.Logger = slog.New(slog.DiscardHandler) }

func BenchmarkCall(b *testing.B) {
	tr := newTree(b, quiet)
	parent, up := tr.session(b)
	serve(b, parent, newChild())
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := explain(ctx, up, "x"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCallParallel(b *testing.B) {
	tr := newTree(b, quiet)
	parent, up := tr.session(b)
	serve(b, parent, newChild())
	ctx := b.Context()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := explain(ctx, up, "x"); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkConnect(b *testing.B) {
	tr := newTree(b, quiet)
	for b.Loop() {
		s, err := link.Dial(b.Context(), tr.listener.Addr().String(), tr.clientConfig())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := tr.listener.Accept(b.Context()); err != nil {
			b.Fatal(err)
		}
		s.Close(link.CodeShutdown, "")
	}
}

// BenchmarkIdleSession reports the memory of an idle session, both ends.
func BenchmarkIdleSession(b *testing.B) {
	tr := newTree(b, quiet)
	before := heap()
	n := 0
	for b.Loop() {
		tr.session(b)
		n++
	}
	b.ReportMetric(float64(heap()-before)/float64(n), "heap-B/session-pair")
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func BenchmarkIdleTraffic(b *testing.B) {
	var perKeepAlive float64
	for b.Loop() {
		perKeepAlive = idleTraffic(b)
	}
	b.ReportMetric(perKeepAlive*8/link.DefaultKeepAlive.Seconds(), "bit/s")
}
