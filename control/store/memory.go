package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Memory returns an empty store that forgets everything when it is closed. It
// is for tests: it behaves as the others do, but an Update costs time in
// proportion to all that is stored.
func Memory() Store {
	m := &memory{turn: make(chan struct{}, 1)}
	m.state.Store(&snapshot{})
	return m
}

type memory struct {
	turn  chan struct{} // held by the running Update
	state atomic.Pointer[snapshot]

	mu      sync.RWMutex // held for reading by every transaction, for writing by Close
	isEnded bool
}

// snapshot is a sorted, immutable list of all pairs.
type snapshot struct{ pairs []pair }

type pair struct {
	key   string
	value []byte
}

func (s *snapshot) find(key string) (int, bool) {
	return slices.BinarySearchFunc(s.pairs, key, func(p pair, key string) int { return strings.Compare(p.key, key) })
}

func (s *snapshot) get(key string) ([]byte, bool, error) {
	if i, found := s.find(key); found {
		return s.pairs[i].value, true, nil
	}
	return nil, false, nil
}

func (s *snapshot) scan(prefix string, fn func(string, []byte) error) error {
	first, _ := s.find(prefix)
	for _, p := range s.pairs[first:] {
		if !strings.HasPrefix(p.key, prefix) {
			return nil
		}
		if err := fn(p.key, p.value); err != nil {
			return err
		}
	}
	return nil
}

// with returns the snapshot after the transaction's writes.
func (s *snapshot) with(t *tx) *snapshot {
	next := &snapshot{pairs: slices.Clone(s.pairs)}
	for _, key := range t.sortedWrites() {
		w := t.writes[key]
		i, found := next.find(key)
		switch {
		case w.deleted && found:
			next.pairs = slices.Delete(next.pairs, i, i+1)
		case w.deleted:
		case found:
			next.pairs[i].value = w.value
		default:
			next.pairs = slices.Insert(next.pairs, i, pair{key, w.value})
		}
	}
	return next
}

func (m *memory) View(ctx context.Context, fn func(Tx) error) error {
	if err := m.enter(ctx); err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	defer m.mu.RUnlock()
	t := &tx{ctx: ctx, base: m.state.Load()}
	defer func() { t.done = true }()
	return fn(t)
}

func (m *memory) Update(ctx context.Context, fn func(Tx) error) error {
	if err := m.enter(ctx); err != nil {
		return fmt.Errorf("write to the store: %w", err)
	}
	defer m.mu.RUnlock()
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("write to the store: %w", ctx.Err())
	}
	defer func() { <-m.turn }()
	base := m.state.Load()
	t := &tx{ctx: ctx, base: base, writes: map[string]write{}}
	defer func() { t.done = true }()
	if err := fn(t); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write to the store: %w", err)
	}
	m.state.Store(base.with(t))
	return nil
}

// enter begins a transaction, or says why not.
func (m *memory) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.RLock()
	if m.isEnded {
		m.mu.RUnlock()
		return ErrClosed
	}
	return nil
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.isEnded = true
	m.state.Store(&snapshot{})
	return nil
}
