package link

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRetry(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	failed := outcome{}
	lost := outcome{connected: true, lived: time.Hour}
	dropped := outcome{connected: true, lived: s}
	refused := outcome{final: true}
	cases := []struct {
		name     string
		outcomes []outcome
		bounds   []time.Duration // of each wait, with r just below 1
	}{
		{"unreachable", []outcome{failed, failed, failed, failed, failed, failed, failed, failed},
			[]time.Duration{500 * ms, s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s, 30 * s}},
		{"first retry after a loss", []outcome{failed, failed, lost, failed, failed}, []time.Duration{500 * ms, s, 0, 500 * ms, s}},
		{"flapping", []outcome{dropped, dropped, dropped}, []time.Duration{0, s, 2 * s}},
		{"refused", []outcome{refused, refused}, []time.Duration{30 * s, 30 * s}},
	}
	for _, c := range cases {
		again := retry{Backoff: Backoff{}.withDefaults()}
		for i, o := range c.outcomes {
			var high time.Duration
			low, _ := again.next(o, 0)
			high, again = again.next(o, 0.999999)
			if high > c.bounds[i] || high < c.bounds[i]-ms {
				t.Errorf("%s: wait %d is up to %s, want %s", c.name, i+1, high, c.bounds[i])
			}
			if want := c.bounds[i] / 2; o.final && low != want || !o.final && low != 0 {
				t.Errorf("%s: wait %d begins at %s", c.name, i+1, low)
			}
		}
	}
}

func TestRetryStaysInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		again := retry{Backoff: Backoff{}.withDefaults()}
		for range rapid.IntRange(1, 200).Draw(t, "attempts") {
			o := outcome{
				connected: rapid.Bool().Draw(t, "connected"),
				lived:     time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "lived")),
				final:     rapid.Bool().Draw(t, "final"),
			}
			var wait time.Duration
			if wait, again = again.next(o, rapid.Float64Range(0, 0.9999).Draw(t, "r")); wait < 0 || wait > again.Cap {
				t.Fatalf("waits %s", wait)
			}
		}
	})
}

func TestRateLimit(t *testing.T) {
	now := time.Unix(0, 0)
	r := newRateLimit(10, func() time.Time { return now })
	count := func() (n int) {
		for range 100 {
			if r.allow() {
				n++
			}
		}
		return n
	}
	if n := count(); n != 10 {
		t.Errorf("burst of %d", n)
	}
	now = now.Add(500 * time.Millisecond)
	if n := count(); n != 5 {
		t.Errorf("%d after half a second", n)
	}
	now = now.Add(-time.Hour) // a clock that is set back must not block for ever
	if n := count(); n != 0 {
		t.Errorf("%d after the clock went back", n)
	}
}
