package link

import (
	"sync"
	"time"
)

// rateLimit is a token bucket that holds one second's worth.
type rateLimit struct {
	perSecond float64
	clock     func() time.Time

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

func newRateLimit(perSecond int, clock func() time.Time) *rateLimit {
	return &rateLimit{perSecond: float64(perSecond), clock: clock, tokens: float64(perSecond), last: clock()}
}

func (r *rateLimit) allow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	if passed := now.Sub(r.last); passed > 0 {
		r.tokens = min(r.perSecond, r.tokens+passed.Seconds()*r.perSecond)
		r.last = now
	}
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}
