package server

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// flushDelay is the shortest time between two flushes, so that a long log does
// not cost a packet per line.
const flushDelay = 5 * time.Millisecond

// stream is an answer that is written bit by bit, perhaps by several
// goroutines. What comes after a pause is flushed at once, what comes soon
// after that a little later. A reader that takes nothing for writeTimeout
// makes write fail.
type stream struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	rc      *http.ResponseController
	timer   *time.Timer
	flushed time.Time
	dirty   bool
	closed  bool
	err     error
}

func newStream(w http.ResponseWriter) *stream {
	s := &stream{w: w, rc: http.NewResponseController(w)}
	s.timer = time.AfterFunc(time.Hour, s.flush)
	s.timer.Stop()
	return s
}

func (s *stream) write(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.extend()
	if _, s.err = s.w.Write(b); s.err != nil || s.dirty {
		return s.err
	}
	s.dirty = true
	if wait := flushDelay - time.Since(s.flushed); wait > 0 {
		s.timer.Reset(wait)
	} else {
		s.flushNow()
	}
	return s.err
}

// extend gives the reader time anew. Writers in tests may have no deadlines.
func (s *stream) extend() { _ = s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)) }

func (s *stream) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !s.dirty {
		return
	}
	s.flushNow()
}

// flushNow is called with mu held.
func (s *stream) flushNow() {
	s.dirty, s.flushed = false, time.Now()
	s.extend()
	if err := s.rc.Flush(); err != nil && s.err == nil {
		s.err = err
	}
}

// close ends the use of the writer; what is left net/http flushes.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.timer.Stop()
	s.extend()
}

type stoppingKey struct{}

// streamContext is the context of an answer without an end: it is done when
// the client is gone, and when the server stops (see Serve).
func streamContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	stopping, ok := ctx.Value(stoppingKey{}).(context.Context)
	if !ok {
		return ctx, cancel
	}
	stop := context.AfterFunc(stopping, cancel)
	return ctx, func() { stop(); cancel() }
}
