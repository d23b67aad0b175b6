package external

import (
	"strings"
	"testing"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/fake"
)

// BenchmarkStatus compares a call in this process with one of a program's,
// which makes its own to this process: the difference is two hops.
func BenchmarkStatus(b *testing.B) {
	host := fake.NewHost(nil)
	direct := fake.New(host)
	h, err := direct.Create(b.Context(), drivers.Spec{ID: "a", Generation: 1}, nil)
	if err != nil {
		b.Fatal(err)
	}
	status := func(d drivers.Driver) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Status(b.Context(), h); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	socket := serveHere(b, direct)
	b.Run("direct", status(direct))
	b.Run("protocol", status(&client{suspect: func() {}, dial: dialer(socket)}))
}

// BenchmarkLogs measures how fast output gets through.
func BenchmarkLogs(b *testing.B) {
	const size = 8 << 20
	line := strings.Repeat("x", 99) + "\n"
	host := fake.NewHost(func(drivers.Spec) fake.Script {
		return fake.Script{Steps: []fake.Step{{Text: strings.Repeat(line, size/len(line))}}}
	})
	d := fake.New(host)
	h, err := d.Create(b.Context(), drivers.Spec{ID: "a", Generation: 1}, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := d.Start(b.Context(), h); err != nil {
		b.Fatal(err)
	}
	c := &client{suspect: func() {}, dial: dialer(serveHere(b, d))}
	b.SetBytes(size / int64(len(line)) * int64(len(line)))
	for b.Loop() {
		n := 0
		if err := c.Logs(b.Context(), h, drivers.LogOptions{Tail: -1}, func(e drivers.LogEntry) error { n += len(e.Data); return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
