package orchestrator

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/edgeio/edgeio/control/store"
)

// Event is a change as others see it.
type Event struct {
	JobID      string `json:"job_id"`
	JobName    string `json:"job_name"`
	InstanceID string `json:"instance_id"`
	ChildName  string `json:"child_name,omitempty"`
	Change
}

// EventQuery selects events.
type EventQuery struct {
	JobID   string // empty: of all jobs
	After   uint64 // revision
	NewOnly bool   // none that are stored already
	Follow  bool   // go on with those to come
}

func historyKey(instanceID string, revision uint64) string {
	return fmt.Sprintf("%s%s/%016x", historyPrefix, instanceID, revision)
}

// trimHistory drops the oldest changes of an instance.
func trimHistory(tx store.Tx, instanceID string) error {
	var keys []string
	err := tx.Scan(historyPrefix+instanceID+"/", func(key string, _ []byte) error { keys = append(keys, key); return nil })
	if err != nil {
		return err
	}
	for _, key := range keys[:max(len(keys)-maxHistory, 0)] {
		if err := tx.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// ring is the latest events in memory, each at its revision modulo the size.
// Every revision is one event.
type ring struct {
	events [maxRecent]Event
	first  uint64 // revision of the oldest
	next   uint64 // revision after that of the latest
}

// maxRecent is how many events a watcher may be behind before it reads the
// store instead.
const maxRecent = 4096

func (r *ring) add(events []Event) {
	for _, ev := range events {
		r.events[ev.Revision%maxRecent] = ev
		r.next = ev.Revision + 1
	}
	if r.next > maxRecent {
		r.first = max(r.first, r.next-maxRecent)
	}
}

// after returns events later than a revision, at most limit that match, and
// the revision up to which that is all of them. It fails if there may be
// earlier ones that are not in the ring.
func (r *ring) after(revision uint64, jobID string, limit int) (events []Event, upTo uint64, ok bool) {
	if revision+1 < r.first {
		return nil, 0, false
	}
	for upTo = revision; upTo+1 < r.next && len(events) < limit; upTo++ {
		if ev := r.events[(upTo+1)%maxRecent]; jobID == "" || ev.JobID == jobID {
			events = append(events, ev)
		}
	}
	return events, upTo, true
}

// publish makes events known to those who watch. Called with mu held.
func (c *Core) publish(events []Event) {
	if len(events) == 0 {
		return
	}
	c.recent.add(events)
	close(c.changed)
	c.changed = make(chan struct{})
}

// watchBatch bounds the events that are copied for a watcher at a time.
const watchBatch = 256

// Watch calls yield with each event that is selected, in order and each once,
// until the stored ones are through or, with Follow, the context ends. yield
// may take its time: nothing waits for it, and nothing is kept for it.
func (c *Core) Watch(ctx context.Context, q EventQuery, yield func(Event) error) error {
	c.mu.RLock()
	seen := q.After
	if q.NewOnly {
		seen = c.revision
	}
	c.mu.RUnlock()
	for {
		c.mu.RLock()
		events, upTo, ok := c.recent.after(seen, q.JobID, watchBatch)
		present, changed := c.revision, c.changed
		c.mu.RUnlock()
		if !ok {
			var err error
			if events, err = c.storedEvents(ctx, q.JobID, seen, present); err != nil {
				return err
			}
			upTo = present
		}
		for _, ev := range events {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := yield(ev); err != nil {
				return err
			}
		}
		if seen = upTo; seen < present {
			continue
		}
		if !q.Follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.stopped:
			return errStopped
		case <-changed:
		}
	}
}

// storedEvents reads the events after one revision up to another.
func (c *Core) storedEvents(ctx context.Context, jobID string, after, upTo uint64) ([]Event, error) {
	prefix := historyPrefix
	if jobID != "" {
		prefix += jobID + "-"
	}
	var out []Event
	err := c.cfg.Store.View(ctx, func(tx store.Tx) error {
		return tx.Scan(prefix, func(key string, value []byte) error {
			var ev Event
			if err := json.Unmarshal(value, &ev); err != nil {
				return fmt.Errorf("read %s: %w", key, err)
			}
			if ev.Revision > after && ev.Revision <= upTo {
				out = append(out, ev)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	slices.SortFunc(out, func(a, b Event) int { return cmp.Compare(a.Revision, b.Revision) })
	return out, nil
}

// History returns the changes of all instances of a job, oldest first.
func (c *Core) History(ctx context.Context, jobID string) ([]Event, error) {
	c.mu.RLock()
	present := c.revision
	c.mu.RUnlock()
	return c.storedEvents(ctx, jobID, 0, present)
}
