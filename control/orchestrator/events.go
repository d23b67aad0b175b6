package orchestrator

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/edgeio/edgeio/control/store"
	"github.com/edgeio/edgeio/proto/link"
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

// watcherBuffer is how far a watcher may fall behind before it is cut off.
const watcherBuffer = 4096

type watcher struct {
	jobID  string
	events chan Event // closed when the watcher fell behind or the core stops
}

func historyKey(instanceID string, revision uint64) string {
	return fmt.Sprintf("%s%s/%016x", historyPrefix, instanceID, revision)
}

// publish hands an event to those who watch. Called with mu held.
func (c *Core) publish(ev Event) {
	for w := range c.watchers {
		if w.jobID != "" && w.jobID != ev.JobID {
			continue
		}
		select {
		case w.events <- ev:
		default:
			delete(c.watchers, w)
			close(w.events)
		}
	}
}

func (c *Core) closeWatchers() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.watchers {
		delete(c.watchers, w)
		close(w.events)
	}
}

// Watch calls yield with each event that is selected, in order and each once,
// until the stored ones are through or, with Follow, the context ends. A
// caller that is too slow gets an error of class Unavailable and can go on
// from the last revision it has seen.
func (c *Core) Watch(ctx context.Context, q EventQuery, yield func(Event) error) error {
	w := &watcher{jobID: q.JobID, events: make(chan Event, watcherBuffer)}
	c.mu.Lock()
	present := c.revision
	if q.Follow {
		c.watchers[w] = struct{}{}
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.watchers, w)
		c.mu.Unlock()
	}()
	if !q.NewOnly {
		stored, err := c.storedEvents(ctx, q.JobID, q.After, present)
		if err != nil {
			return err
		}
		for _, ev := range stored {
			if err := yield(ev); err != nil {
				return err
			}
		}
	}
	if !q.Follow {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev, ok := <-w.events:
			if !ok {
				return link.Error(link.Unavailable, "watch events: cut off; go on from the last revision that was seen")
			}
			if ev.Revision <= q.After {
				continue
			}
			if err := yield(ev); err != nil {
				return err
			}
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
	slices.SortFunc(out, func(a, b Event) int { return int(int64(a.Revision) - int64(b.Revision)) })
	return out, nil
}

// History returns the changes of all instances of a job, oldest first.
func (c *Core) History(ctx context.Context, jobID string) ([]Event, error) {
	c.mu.RLock()
	present := c.revision
	c.mu.RUnlock()
	return c.storedEvents(ctx, jobID, 0, present)
}
