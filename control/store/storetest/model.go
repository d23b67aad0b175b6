package storetest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/edgeio/edgeio/control/store"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// testModel compares random transactions with a map.
func testModel(t *testing.T, open func(testing.TB) store.Store) {
	rapid.Check(t, func(rt *rapid.T) {
		s := open(t)
		defer func() {
			if err := s.Close(); err != nil {
				rt.Fatalf("close: %v", err)
			}
		}()
		model := map[string][]byte{}
		for range rapid.IntRange(1, 6).Draw(rt, "transactions") {
			next := maps.Clone(model)
			abort := errors.New("abort")
			isAborted := rapid.Bool().Draw(rt, "aborted")
			err := s.Update(context.Background(), func(tx store.Tx) error {
				for range rapid.IntRange(0, 12).Draw(rt, "operations") {
					operate(rt, tx, next)
				}
				if isAborted {
					return abort
				}
				return nil
			})
			switch {
			case isAborted && !errors.Is(err, abort), !isAborted && err != nil:
				rt.Fatalf("update: %v", err)
			case !isAborted:
				model = next
			}
			if err := s.View(context.Background(), func(tx store.Tx) error { compare(rt, tx, model, ""); return nil }); err != nil {
				rt.Fatalf("view: %v", err)
			}
		}
	})
}

// operate does one random thing to both the transaction and the model. Few
// different short keys make collisions and common prefixes likely.
func operate(rt *rapid.T, tx store.Tx, model map[string][]byte) {
	key := rapid.StringMatching(`[ab/]{1,3}`).Draw(rt, "key")
	switch rapid.SampledFrom([]string{"put", "put", "delete", "get", "scan"}).Draw(rt, "operation") {
	case "put":
		value := rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(rt, "value")
		if err := tx.Put(key, value); err != nil {
			rt.Fatalf("put %q: %v", key, err)
		}
		model[key] = value
	case "delete":
		if err := tx.Delete(key); err != nil {
			rt.Fatalf("delete %q: %v", key, err)
		}
		delete(model, key)
	case "get":
		got, err := tx.Get(key)
		want, found := model[key]
		if found != (err == nil) || (!found && !errors.Is(err, store.ErrNotFound)) || !bytes.Equal(got, want) {
			rt.Fatalf("get %q: %q, %v; want %q, found %t", key, got, err, want, found)
		}
	case "scan":
		compare(rt, tx, model, key[:len(key)-1])
	}
}

func compare(rt *rapid.T, tx store.Tx, model map[string][]byte, prefix string) {
	want := []string{}
	for _, key := range slices.Sorted(maps.Keys(model)) {
		if strings.HasPrefix(key, prefix) {
			want = append(want, key+"="+string(model[key]))
		}
	}
	got, err := dump(tx, prefix)
	if err != nil {
		rt.Fatalf("scan %q: %v", prefix, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		rt.Fatalf("scan %q (-want +got):\n%s", prefix, diff)
	}
}
