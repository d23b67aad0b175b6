package orchestrator

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"

	"github.com/edgeio/edgeio/control/store"
)

// table is one kind of record, in memory and in the store below a prefix.
// Readers see what is committed; the transaction in progress sees its own
// changes, and can take back those of a single command.
type table[T any] struct {
	prefix  string
	records map[string]*T // committed
	dirty   map[string]*T // changed in the transaction in progress; nil: deleted
}

func newTable[T any](prefix string) *table[T] {
	return &table[T]{prefix: prefix, records: map[string]*T{}, dirty: map[string]*T{}}
}

// load reads all records; prepare completes each of them and gives its key.
func (t *table[T]) load(tx store.Tx, prepare func(*T) (string, error)) error {
	return tx.Scan(t.prefix, func(key string, value []byte) error {
		r := new(T)
		if err := json.Unmarshal(value, r); err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		id, err := prepare(r)
		if err != nil {
			return err
		}
		t.records[id] = r
		return nil
	})
}

// get returns the record as the transaction sees it, or nil.
func (t *table[T]) get(id string) *T {
	if r, ok := t.dirty[id]; ok {
		return r
	}
	return t.records[id]
}

// all iterates over the records as the transaction sees them.
func (t *table[T]) all() iter.Seq2[string, *T] {
	return func(yield func(string, *T) bool) {
		for id, r := range t.records {
			if d, ok := t.dirty[id]; ok {
				r = d
			}
			if r != nil && !yield(id, r) {
				return
			}
		}
		for id, r := range t.dirty {
			if _, ok := t.records[id]; !ok && r != nil && !yield(id, r) {
				return
			}
		}
	}
}

// set changes a record, or deletes it if r is nil, and returns how to take
// that back.
func (t *table[T]) set(id string, r *T) (undo func()) {
	old, had := t.dirty[id]
	t.dirty[id] = r
	return func() {
		if had {
			t.dirty[id] = old
		} else {
			delete(t.dirty, id)
		}
	}
}

// write puts the changes into the store.
func (t *table[T]) write(_ context.Context, tx store.Tx) error {
	for id, r := range t.dirty {
		if r == nil {
			if err := tx.Delete(t.prefix + id); err != nil {
				return err
			}
			continue
		}
		value, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode %s%s: %w", t.prefix, id, err)
		}
		if err := tx.Put(t.prefix+id, value); err != nil {
			return err
		}
	}
	return nil
}

// merge makes the changes visible to readers; forget drops them.
func (t *table[T]) merge() {
	for id, r := range t.dirty {
		if r == nil {
			delete(t.records, id)
		} else {
			t.records[id] = r
		}
	}
	clear(t.dirty)
}

func (t *table[T]) forget() { clear(t.dirty) }

// changed returns the ids that the transaction has changed.
func (t *table[T]) changed() iter.Seq[string] { return maps.Keys(t.dirty) }
