package artifact

import (
	"context"
	"errors"
	"strings"

	"github.com/edgeio/edgeio/drivers"
)

// flight is one fetch that any number of callers wait for. It goes on while
// one of them is left.
type flight struct {
	cancel context.CancelFunc
	done   chan struct{}
	result result // valid once done
	err    error

	// Guarded by Cache.mu.
	waiters map[chan drivers.Progress]struct{}
}

// join waits for the flight of the image, which it starts if there is none.
func (c *Cache) join(ctx context.Context, image drivers.Image, src source, progress func(drivers.Progress)) (string, error) {
	for {
		f, updates, err := c.board(ctx, image, src)
		if err != nil {
			return "", err
		}
		err = c.await(ctx, f, updates, progress)
		if err != nil {
			return "", err
		}
		if f.result.path != "" {
			return f.result.path, nil
		}
		// The entry is not ours before it is pinned: under pressure another
		// process may have evicted it, and then it is fetched again.
		path, ok, err := c.acquire(f.result.digest)
		if err != nil || ok {
			return path, err
		}
	}
}

func (c *Cache) board(ctx context.Context, image drivers.Image, src source) (*flight, chan drivers.Progress, error) {
	key := strings.Join([]string{image.Reference, image.SHA256, image.Arch}, "\x00")
	updates := make(chan drivers.Progress, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, classed(drivers.ErrUnavailable, "the agent is about to end")
	}
	f := c.flights[key]
	if f == nil {
		flightCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{cancel: cancel, done: make(chan struct{}), waiters: map[chan drivers.Progress]struct{}{}}
		c.flights[key] = f
		c.running.Go(func() {
			defer cancel()
			f.result, f.err = src.fetch(flightCtx, image, func(p drivers.Progress) { c.broadcast(f, p) })
			c.mu.Lock()
			if c.flights[key] == f {
				delete(c.flights, key)
			}
			c.mu.Unlock()
			close(f.done)
		})
	}
	f.waiters[updates] = struct{}{}
	return f, updates, nil
}

// await returns when the flight has ended or ctx has. Who leaves last ends the flight.
func (c *Cache) await(ctx context.Context, f *flight, updates chan drivers.Progress, progress func(drivers.Progress)) error {
	defer c.leave(f, updates)
	for {
		select {
		case <-f.done:
			if errors.Is(f.err, context.Canceled) {
				return classed(drivers.ErrUnavailable, "the fetch was ended: %w", f.err)
			}
			return f.err
		case <-ctx.Done():
			return ctx.Err()
		case p := <-updates:
			if progress != nil {
				progress(p)
			}
		}
	}
}

func (c *Cache) leave(f *flight, updates chan drivers.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(f.waiters, updates)
	if len(f.waiters) > 0 {
		return
	}
	f.cancel()
	for key, other := range c.flights {
		if other == f { // who comes now must not board a flight that is ending
			delete(c.flights, key)
		}
	}
}

// broadcast gives every waiter the latest progress; a slow one misses earlier ones.
func (c *Cache) broadcast(f *flight, p drivers.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for updates := range f.waiters {
		select {
		case <-updates:
		default:
		}
		updates <- p // has room: only this function sends, under the lock
	}
}
