package store

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
)

// reader is a snapshot that a transaction looks through. Values belong to the
// snapshot and are copied by tx. Scan may be left by an error of fn.
type reader interface {
	get(key string) (value []byte, found bool, err error)
	scan(prefix string, fn func(key string, value []byte) error) error
}

// tx is the transaction of all stores: reads go to the snapshot, writes are
// held here until the function has returned without an error. So an abandoned
// transaction has nothing to undo, and several can share one commit.
type tx struct {
	ctx    context.Context // of the View or Update that it lives in
	base   reader
	writes map[string]write // nil: read-only
	done   bool
}

type write struct {
	value   []byte
	deleted bool
}

func (t *tx) check(key string) error {
	if t.done {
		return ErrTxDone
	}
	return checkKey(key)
}

func (t *tx) Get(key string) ([]byte, error) {
	if err := t.check(key); err != nil {
		return nil, err
	}
	if w, ok := t.writes[key]; ok {
		if w.deleted {
			return nil, ErrNotFound
		}
		return copied(w.value), nil
	}
	value, found, err := t.base.get(key)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, ErrNotFound
	}
	return copied(value), nil
}

func (t *tx) Put(key string, value []byte) error {
	if err := t.check(key); err != nil {
		return err
	}
	if err := checkValue(key, value); err != nil {
		return err
	}
	if t.writes == nil {
		return ErrReadOnly
	}
	t.writes[key] = write{value: copied(value)}
	return nil
}

func (t *tx) Delete(key string) error {
	if err := t.check(key); err != nil {
		return err
	}
	if t.writes == nil {
		return ErrReadOnly
	}
	t.writes[key] = write{deleted: true}
	return nil
}

// pending is a write with its key, for merging into a scan.
type pending struct {
	key string
	write
}

func (t *tx) Scan(prefix string, fn func(string, []byte) error) error {
	if t.done {
		return ErrTxDone
	}
	ahead := t.pending(prefix)
	emit := func(p pending) error {
		if p.deleted {
			return nil
		}
		return fn(p.key, copied(p.value))
	}
	err := t.base.scan(prefix, func(key string, value []byte) error {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		for len(ahead) > 0 && ahead[0].key <= key {
			next := ahead[0]
			ahead = ahead[1:]
			if err := emit(next); err != nil || next.key == key {
				return err
			}
		}
		return fn(key, copied(value))
	})
	if err != nil {
		return err
	}
	for _, p := range ahead {
		if err := emit(p); err != nil {
			return err
		}
	}
	return nil
}

// pending returns the transaction's own writes below prefix, in order.
func (t *tx) pending(prefix string) []pending {
	var own []pending
	for key, w := range t.writes {
		if strings.HasPrefix(key, prefix) {
			own = append(own, pending{key, w})
		}
	}
	slices.SortFunc(own, func(a, b pending) int { return strings.Compare(a.key, b.key) })
	return own
}

// sortedWrites returns the keys written, in order: neighbours share pages.
func (t *tx) sortedWrites() []string { return slices.Sorted(maps.Keys(t.writes)) }

func copied(b []byte) []byte {
	if len(b) == 0 {
		return []byte{}
	}
	return bytes.Clone(b)
}
