package docker

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
)

const (
	// resyncInterval is how often everyone looks for himself although no event
	// came: the daemon drops events for readers that are slow.
	resyncInterval = 5 * time.Minute
	// retryInterval is how soon a call is tried again that a connected daemon did not answer.
	retryInterval = 2 * time.Second
	// eventOverlap is how much of the past a new stream repeats, so that nothing
	// falls between two streams. Repeated events do no harm.
	eventOverlap = 2 * time.Second
)

// eventHub shares one stream of the daemon's events among all who wait for
// something. It runs while there are subscribers, and comes back by itself
// when the daemon does.
type eventHub struct {
	d *Driver

	mu        sync.Mutex
	subs      map[*subscription]struct{}
	cancel    context.CancelFunc
	done      chan struct{}
	connected bool
	outages   int // how often the daemon was lost
}

// subscription is one waiter's view of the events of one container, or of the
// connection if container is empty.
type subscription struct {
	hub       *eventHub
	container string
	wake      chan struct{}

	// Guarded by hub.mu.
	killed bool // by somebody else than us, in this run
	died   drivers.Exit
}

func newEventHub(d *Driver) *eventHub {
	return &eventHub{d: d, subs: map[*subscription]struct{}{}}
}

func (h *eventHub) subscribe(container string) *subscription {
	s := &subscription{hub: h, container: container, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs[s] = struct{}{}
	if h.cancel == nil {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		h.cancel, h.done = cancel, done
		go func() {
			defer close(done)
			h.run(ctx)
		}()
	}
	return s
}

// unsubscribe ends a subscription; the last one waits for the stream's end.
func (h *eventHub) unsubscribe(s *subscription) {
	h.mu.Lock()
	delete(h.subs, s)
	if len(h.subs) > 0 {
		h.mu.Unlock()
		return
	}
	cancel, done := h.cancel, h.done
	h.cancel, h.done, h.connected = nil, nil, false
	h.mu.Unlock()
	cancel()
	<-done
}

// next returns when something may have changed. With retry it also returns
// after a while if the daemon is connected, for it may have been too busy to answer.
func (s *subscription) next(ctx context.Context, retry bool) error {
	var again <-chan time.Time
	if retry {
		timer := time.NewTimer(retryInterval)
		defer timer.Stop()
		again = timer.C
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.wake:
			return nil
		case <-again:
			return nil
		}
	}
}

func (s *subscription) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscription) outageCount() int {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.hub.outages
}

func (s *subscription) wasKilled() bool {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.killed
}

// lastDeath returns how the run ended that was started at run.
func (s *subscription) lastDeath(run time.Time) drivers.Exit {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.died.At.Before(run) {
		return lostExit(time.Time{}, "it was started again before its end was seen")
	}
	return s.died
}

// run keeps a stream open until ctx ends.
func (h *eventHub) run(ctx context.Context) {
	path := h.d.cfg.socketPath()
	for ctx.Err() == nil {
		// Looking out begins before the attempt, so that a daemon that comes up right after it is not missed.
		out := newLookout(path)
		for ctx.Err() == nil && !h.follow(ctx, out) {
			out.wait(ctx)
		}
		out.close()
	}
}

// follow reads events until the stream ends; false if there was none.
func (h *eventHub) follow(ctx context.Context, out *lookout) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	patience := time.AfterFunc(h.d.cfg.QueryTimeout, cancel)
	stream := h.d.api.Load().Events(ctx, client.EventsListOptions{
		Since: eventTime(time.Now().Add(-eventOverlap)),
		Filters: make(client.Filters).
			Add("type", string(events.ContainerEventType)).
			Add("label", labelAgent+"="+h.d.cfg.AgentID).
			Add("event", string(events.ActionStart), string(events.ActionDie), string(events.ActionDestroy), string(events.ActionKill)),
	})
	patience.Stop()
	defer func() { // the client's goroutine ends with its error channel
		cancel()
		for range stream.Err {
		}
	}()
	select {
	case err := <-stream.Err:
		h.d.log.Debug("no events", "host", h.d.cfg.Host, "err", err)
		return false
	default:
	}

	out.close()
	h.setConnected(ctx, true)
	defer h.setConnected(ctx, false)
	resync := time.NewTicker(resyncInterval)
	defer resync.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case err := <-stream.Err:
			h.d.log.Debug("events ended", "host", h.d.cfg.Host, "err", err)
			return true
		case <-resync.C:
			h.wakeAll()
		case msg := <-stream.Messages:
			h.dispatch(msg)
		}
	}
}

func eventTime(t time.Time) string {
	return strconv.FormatInt(t.Unix(), 10) + "." + leftPad9(t.Nanosecond())
}

// leftPad9 writes nanoseconds as the daemon reads them: nine digits.
func leftPad9(ns int) string {
	s := strconv.Itoa(ns)
	return "000000000"[len(s):] + s
}

// setConnected tells everyone of a new connection, for what happened before it
// is unknown; of a lost one only those who watch the connection.
func (h *eventHub) setConnected(ctx context.Context, connected bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !connected && ctx.Err() == nil {
		h.outages++
	}
	h.connected = connected
	for s := range h.subs {
		if connected || s.container == "" {
			s.notify()
		}
	}
}

func (h *eventHub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		if s.container != "" {
			s.notify()
		}
	}
}

func (h *eventHub) dispatch(msg events.Message) {
	foreign := msg.Action == events.ActionKill && !h.d.isStopping(msg.Actor.ID)
	at := time.Unix(0, msg.TimeNano)
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		if s.container != msg.Actor.ID {
			continue
		}
		switch msg.Action {
		case events.ActionStart:
			s.killed = false
		case events.ActionKill:
			s.killed = s.killed || foreign
			continue
		case events.ActionDie:
			s.died = deathExit(msg.Actor.Attributes["exitCode"], at)
		}
		s.notify()
	}
}
