package link

import "time"

// Defaults of Backoff.
const (
	DefaultBackoffBase    = 500 * time.Millisecond
	DefaultBackoffCap     = 30 * time.Second
	DefaultBackoffSettled = 30 * time.Second
)

// Backoff is how long an Uplink waits between attempts. Zero fields get the
// defaults above.
type Backoff struct {
	Base time.Duration // upper bound of the wait after the first failure; doubles with each
	Cap  time.Duration // upper bound of all waits
	// Settled is how long a session must have lived to count as a success. One
	// that ends sooner counts as a failure.
	Settled time.Duration
}

func (b Backoff) withDefaults() Backoff {
	setDefault(&b.Base, DefaultBackoffBase)
	setDefault(&b.Cap, DefaultBackoffCap)
	setDefault(&b.Settled, DefaultBackoffSettled)
	return b
}

// outcome is how an attempt ended.
type outcome struct {
	connected bool          // there was a session
	lived     time.Duration // of the session
	final     bool          // refused: trying again soon will not help
}

// retry decides when to try again. It is a value; next returns the one to
// decide by after the next attempt.
type retry struct {
	Backoff
	failures int // in a row
}

// next returns how long to wait after an attempt that ended so; r is drawn from
// [0,1). The wait is anything up to its bound ("full jitter"), so that children
// of a parent that was away do not come back in step. Only the first attempt
// after a loss is made at once.
func (t retry) next(o outcome, r float64) (time.Duration, retry) {
	switch {
	case o.final:
		t.failures++
		half := t.Cap / 2
		return half + time.Duration(r*float64(half)), t
	case o.connected && o.lived >= t.Settled:
		t.failures = 0
		return 0, t
	case o.connected && t.failures == 0:
		t.failures = 1
		return 0, t
	}
	t.failures++
	return time.Duration(r * float64(t.bound())), t
}

func (t retry) bound() time.Duration {
	bound := t.Base
	for range t.failures - 1 {
		if bound >= t.Cap {
			break
		}
		bound *= 2
	}
	return min(bound, t.Cap)
}
