package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/edgeio/edgeio/proto/identity"
)

// Uplink keeps one session to the first parent that can be reached. Set the
// fields, then call Run once.
type Uplink struct {
	// Addrs returns the addresses of parents, in order of preference. It is
	// asked before each round of attempts.
	Addrs   func() []string
	Config  Config
	Logger  *slog.Logger // nil discards
	Backoff Backoff

	mu    sync.Mutex
	state UplinkState
}

// UplinkState is how an Uplink is doing, for people.
type UplinkState struct {
	Connected bool
	Since     time.Time     // when Connected became what it is
	Address   string        // of the session, or the one tried last
	Parent    identity.Peer // of the session, or of the last one
	Attempts  int           // rounds that failed since the last session
	LastError error         // why there is no session, or why the last one ended
	Retry     time.Time     // when the next round begins; zero if one is under way
}

// State may be called at any time.
func (u *Uplink) State() UplinkState {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state
}

func (u *Uplink) update(f func(*UplinkState)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(&u.state)
}

// Run connects, calls onSession with each session, waits for it to return,
// closes the session and connects again, until ctx ends; it returns the cause.
// The context given to onSession ends with the session, too.
//
// The first attempt, and the first after the loss of a session, are made at
// once; later ones wait, see Backoff. If all addresses refuse (class Denied), or
// onSession returns an error of that class, it goes on but seldom, and says so
// at level error.
func (u *Uplink) Run(ctx context.Context, onSession func(ctx context.Context, s *Session) error) error {
	log := u.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	u.update(func(st *UplinkState) { st.Since = time.Now() })
	again := retry{Backoff: u.Backoff.withDefaults()}
	first := 0 // which address to begin with
	for {
		o, err := u.attempt(ctx, log, first, onSession)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		first = 0
		if o.connected && o.lived < again.Settled {
			// It can be reached but does not hold: let others have a turn.
			first = again.failures + 1
		}
		var wait time.Duration
		wait, again = again.next(o, rand.Float64())
		u.lost(log, o, wait, err)
		if !sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// lost records and logs that there is no session.
func (u *Uplink) lost(log *slog.Logger, o outcome, wait time.Duration, err error) {
	now := time.Now()
	u.update(func(st *UplinkState) {
		if st.Connected {
			st.Connected, st.Since = false, now
		}
		st.LastError, st.Retry = err, now.Add(wait)
		st.Attempts++
		if o.connected {
			st.Attempts = 0
		}
	})
	level, text := slog.LevelWarn, "no link to a parent"
	switch {
	case o.final:
		level, text = slog.LevelError, "parent refuses this process"
	case o.connected:
		text = "link to parent lost"
	}
	log.Log(context.Background(), level, text, "error", err, "retry_in", wait.Round(time.Millisecond))
}

func (u *Uplink) attempt(ctx context.Context, log *slog.Logger, first int, onSession func(context.Context, *Session) error) (outcome, error) {
	u.update(func(st *UplinkState) { st.Retry = time.Time{} })
	s, addr, unreached, err := u.dial(ctx, first)
	if err != nil {
		return outcome{final: allDenied(err)}, err
	}
	start := time.Now()
	u.update(func(st *UplinkState) {
		*st = UplinkState{Connected: true, Since: start, Address: addr, Parent: s.Peer()}
	})
	if len(unreached) > 0 {
		log.Warn("some addresses do not lead to a parent", "error", unreached)
	}
	log.Info("linked to parent", "address", addr, "parent", s.Peer().ID)
	err = u.use(ctx, s, onSession)
	if err == nil {
		err = errors.New("the session was not wanted any more")
	}
	return outcome{connected: true, lived: time.Since(start), final: errors.Is(err, Denied)}, fmt.Errorf("link to %s at %s: %w", s.Peer(), addr, err)
}

// use lets onSession have s, and returns why it is over: the end of the session
// rather than what followed from it.
func (u *Uplink) use(ctx context.Context, s *Session, onSession func(context.Context, *Session) error) error {
	sctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.conn.Context(), func() { cancel(s.Err()) })()
	err := onSession(sctx, s)
	if end := s.Err(); end != nil {
		err = end
	}
	s.Close(CodeShutdown, "shutting down")
	return err
}

// dialErrors is one error per address.
type dialErrors []error

func (e dialErrors) Error() string {
	if len(e) == 0 {
		return "no parent address is configured"
	}
	return errors.Join(e...).Error()
}

func (e dialErrors) Unwrap() []error { return e }

// allDenied: one address that is merely away may well accept later.
func allDenied(err error) bool {
	var each dialErrors
	if !errors.As(err, &each) || len(each) == 0 {
		return errors.Is(err, Denied)
	}
	for _, err := range each {
		if !errors.Is(err, Denied) {
			return false
		}
	}
	return true
}

// dial tries all addresses in turn; failed says why those before were not it.
func (u *Uplink) dial(ctx context.Context, first int) (s *Session, addr string, failed dialErrors, err error) {
	addrs := u.Addrs()
	for i := range addrs {
		addr := addrs[(first+i)%len(addrs)]
		u.update(func(st *UplinkState) { st.Address = addr })
		s, err := Dial(ctx, addr, u.Config)
		if err == nil {
			return s, addr, failed, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, "", nil, failed
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
