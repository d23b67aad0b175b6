package orchestrator

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edgeio/edgeio/control/scheduler"
	"github.com/edgeio/edgeio/proto/job"
)

// retryAt tries the instances that wait for a place at a child that may have
// room now. If it has made a new offer, that includes what it refused before.
// It is queued once, however many children there are to try.
func (c *Core) retryAt(childID string, newOffer bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.unplaced) == 0 {
		return
	}
	queued := len(c.retry) > 0
	c.retry[childID] = c.retry[childID] || newOffer
	if queued {
		return
	}
	c.later(func(tx *txn) error { return tx.retryUnplaced() })
}

// placeRequested gives a verdict to those that an earlier process has stored
// without one.
func (tx *txn) placeRequested() error {
	for _, id := range keys(tx.c.unplaced) {
		if in := tx.c.instances.get(id); in != nil && in.unplaced() && in.State == job.Requested {
			if err := tx.place(in); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxRefreshed is how many instances may wait for a place while their reasons
// are kept up to date with each offer. Beyond, that would be the main thing
// that an orchestrator does.
const maxRefreshed = 64

// retryUnplaced tries all instances that wait for a place, but only at the
// children about which something has changed.
func (tx *txn) retryUnplaced() error {
	c := tx.c
	c.mu.Lock()
	at := c.retry
	c.retry = map[string]bool{}
	ids := keys(c.unplaced)
	c.mu.Unlock()
	candidates := slices.Clone(tx.allCandidates())
	candidates = slices.DeleteFunc(candidates, func(cand *scheduler.Candidate) bool {
		_, changed := at[cand.ID]
		return !changed
	})
	for _, id := range ids {
		in := c.instances.get(id)
		if in == nil || !in.unplaced() {
			continue
		}
		in = tx.liftRefusals(in, at)
		chosen, rejected := scheduler.Place(tx.placementJob(in.parsed), asRefused(in, candidates), c.cfg.Strategy)
		var err error
		switch {
		case chosen != nil:
			err = tx.assign(in, chosen)
		case in.State == job.Requested:
			err = tx.place(in) // it has no verdict yet, or the process ended before that
		case in.State == job.NotDeployable && len(ids) <= maxRefreshed:
			err = tx.giveUp(in, replaceRejections(in.Rejections, tx.withNested(in, rejected)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// liftRefusals lets children be tried again that have made a new offer since
// they refused the instance. One that refused lately is tried when it is time.
func (tx *txn) liftRefusals(in *Instance, at map[string]bool) *Instance {
	var next *Instance
	for childID, newOffer := range at {
		r, refused := in.refusedBy(childID)
		if !refused || !newOffer {
			continue
		}
		if wait := r.Until.Sub(tx.now); wait > 0 {
			tx.after = append(tx.after, func() { tx.c.retryLater(childID, wait) })
			continue
		}
		if next == nil {
			next = new(Instance)
			*next = *in
			next.Refused = maps.Clone(in.Refused)
		}
		r.Lifted = true
		next.Refused[childID] = r
	}
	if next == nil {
		return in
	}
	tx.setInstance(next)
	return next
}

// retryLater tries a child again after a pause, as if it had made a new offer
// then. There is one timer for each child.
func (c *Core) retryLater(childID string, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.live[childID]
	if l == nil || l.retrying {
		return
	}
	l.retrying = true
	time.AfterFunc(wait, func() {
		c.mu.Lock()
		l.retrying = false
		c.mu.Unlock()
		c.retryAt(childID, true)
	})
}

// replaceRejections returns the rejections with those of some children new.
func replaceRejections(old, fresh []Rejection) []Rejection {
	out := slices.DeleteFunc(slices.Clone(old), func(r Rejection) bool {
		return slices.ContainsFunc(fresh, func(f Rejection) bool { return f.ID == r.ID })
	})
	out = append(out, fresh...)
	slices.SortFunc(out, func(a, b Rejection) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return out
}
