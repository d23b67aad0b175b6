package orchestrator

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"

	"github.com/edgeio/edgeio/control/store"
	"github.com/edgeio/edgeio/proto/link"
)

// table is one kind of record, in memory and in the store below a prefix.
// Readers see what is committed; the transaction in progress sees its own
// changes, and can take back those of a single command.
type table[T any] struct {
	prefix  string
	records map[string]*T     // committed
	dirty   map[string]*T     // changed in the transaction in progress; nil: deleted
	encoded map[string][]byte // of dirty, once the command is through that changed it
}

func newTable[T any](prefix string) *table[T] {
	return &table[T]{prefix: prefix, records: map[string]*T{}, dirty: map[string]*T{}, encoded: map[string][]byte{}}
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
// that back. encode must follow when r is complete.
func (t *table[T]) set(id string, r *T) (undo func()) {
	old, had := t.dirty[id]
	value, encoded := t.encoded[id]
	t.dirty[id] = r
	delete(t.encoded, id)
	return func() {
		delete(t.dirty, id)
		delete(t.encoded, id)
		if had {
			t.dirty[id] = old
		}
		if encoded {
			t.encoded[id] = value
		}
	}
}

// encode makes the bytes of a changed record, and checks that the store takes them.
func (t *table[T]) encode(id string) error {
	r := t.dirty[id]
	if _, done := t.encoded[id]; done || r == nil {
		return nil
	}
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode %s%s: %w", t.prefix, id, err)
	}
	if len(value) > store.MaxValueBytes {
		return link.Error(link.Exhausted, "store %s%s: its %d bytes are more than the %d that a record may have", t.prefix, id, len(value), store.MaxValueBytes)
	}
	t.encoded[id] = value
	return nil
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
		if err := tx.Put(t.prefix+id, t.encoded[id]); err != nil {
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
	t.forget()
}

func (t *table[T]) forget() {
	clear(t.dirty)
	clear(t.encoded)
}

// changed returns the ids that the transaction has changed.
func (t *table[T]) changed() iter.Seq[string] { return maps.Keys(t.dirty) }
