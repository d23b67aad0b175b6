// Package storetest is the suite that every implementation of store.Store
// passes. It owns what the interface's comments promise; it never looks into
// an implementation.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/edgeio/edgeio/control/store"
	"github.com/google/go-cmp/cmp"
)

// Run runs the suite. open returns a new, empty store; the suite closes it.
func Run(t *testing.T, open func(testing.TB) store.Store) {
	tests := []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"GetPutDelete", testGetPutDelete},
		{"Limits", testLimits},
		{"Scan", testScan},
		{"ScanWhileWriting", testScanWhileWriting},
		{"ScanEndsOnError", testScanEndsOnError},
		{"ValuesAreCopies", testValuesAreCopies},
		{"FailedUpdateWritesNothing", testFailedUpdate},
		{"PanicWritesNothing", testPanic},
		{"ViewIsReadOnly", testViewIsReadOnly},
		{"ViewIsASnapshot", testSnapshot},
		{"TxEndsWithItsFunction", testTxDone},
		{"ContextEnds", testContext},
		{"ConcurrentUpdates", testConcurrent},
		{"Close", testClose},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			tt.run(t, s)
		})
	}
	t.Run("Model", func(t *testing.T) { testModel(t, open) })
}

func put(t testing.TB, s store.Store, pairs ...string) {
	t.Helper()
	err := s.Update(t.Context(), func(tx store.Tx) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := tx.Put(pairs[i], []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("put %q: %v", pairs, err)
	}
}

// dump returns all pairs below prefix as "key=value", in the order of the scan.
func dump(tx store.Tx, prefix string) ([]string, error) {
	all := []string{}
	err := tx.Scan(prefix, func(key string, value []byte) error {
		all = append(all, key+"="+string(value))
		return nil
	})
	return all, err
}

func wantAll(t testing.TB, s store.Store, prefix string, want ...string) {
	t.Helper()
	err := s.View(t.Context(), func(tx store.Tx) error {
		got, err := dump(tx, prefix)
		if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
			t.Errorf("pairs below %q (-want +got):\n%s", prefix, diff)
		}
		return err
	})
	if err != nil {
		t.Fatalf("scan %q: %v", prefix, err)
	}
}

func testGetPutDelete(t *testing.T, s store.Store) {
	get := func(tx store.Tx, key, want string) {
		t.Helper()
		got, err := tx.Get(key)
		if err != nil || got == nil || string(got) != want {
			t.Errorf("get %q: %q, %v; want %q", key, got, err, want)
		}
	}
	missing := func(tx store.Tx, key string) {
		t.Helper()
		if got, err := tx.Get(key); !errors.Is(err, store.ErrNotFound) || got != nil {
			t.Errorf("get %q: %q, %v; want ErrNotFound", key, got, err)
		}
	}
	put(t, s, "a", "1", "empty", "")
	err := s.Update(t.Context(), func(tx store.Tx) error {
		get(tx, "a", "1")
		get(tx, "empty", "")
		missing(tx, "b")
		err := errors.Join(tx.Put("a", []byte("2")), tx.Put("b", nil), tx.Delete("never there"))
		get(tx, "a", "2") // a transaction sees its own writes
		get(tx, "b", "")
		err = errors.Join(err, tx.Delete("a"))
		missing(tx, "a")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, s, "", "b=", "empty=")
}

func testLimits(t *testing.T, s store.Store) {
	longKey := strings.Repeat("k", store.MaxKeyBytes)
	bigValue := make([]byte, store.MaxValueBytes)
	err := s.Update(t.Context(), func(tx store.Tx) error {
		for what, err := range map[string]error{
			"put with an empty key":   tx.Put("", nil),
			"put with a long key":     tx.Put(longKey+"k", nil),
			"put of a big value":      tx.Put("v", append(bigValue, 0)),
			"delete of the empty key": tx.Delete(""),
		} {
			if !errors.Is(err, store.ErrInvalid) {
				t.Errorf("%s: %v, want ErrInvalid", what, err)
			}
		}
		if _, err := tx.Get(""); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("get of the empty key: %v, want ErrInvalid", err)
		}
		return tx.Put(longKey, bigValue)
	})
	if err != nil {
		t.Fatalf("the longest key with the biggest value: %v", err)
	}
	wantAll(t, s, "", longKey+"="+string(bigValue))
}

func testScan(t *testing.T, s store.Store) {
	put(t, s, "b/2", "x", "b/10", "y", "a", "0", "b", "z", "c/1", "w", "b/\xff\xff", "v")
	wantAll(t, s, "b/", "b/10=y", "b/2=x", "b/\xff\xff=v")
	wantAll(t, s, "b", "b=z", "b/10=y", "b/2=x", "b/\xff\xff=v")
	wantAll(t, s, "b/\xff", "b/\xff\xff=v")
	wantAll(t, s, "d")
	wantAll(t, s, "", "a=0", "b=z", "b/10=y", "b/2=x", "b/\xff\xff=v", "c/1=w")
}

func testScanWhileWriting(t *testing.T, s store.Store) {
	put(t, s, "a", "1", "b", "2", "c", "3")
	err := s.Update(t.Context(), func(tx store.Tx) error {
		if err := errors.Join(tx.Put("a0", []byte("new")), tx.Put("b", []byte("changed")), tx.Delete("c")); err != nil {
			return err
		}
		var seen []string
		err := tx.Scan("", func(key string, value []byte) error {
			seen = append(seen, key+"="+string(value))
			return errors.Join(tx.Delete(key), tx.Put("z/"+key, value))
		})
		if diff := cmp.Diff([]string{"a=1", "a0=new", "b=changed"}, seen); diff != "" {
			t.Errorf("a scan must see the transaction as it was when it began (-want +got):\n%s", diff)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, s, "", "z/a=1", "z/a0=new", "z/b=changed")
}

func testScanEndsOnError(t *testing.T, s store.Store) {
	put(t, s, "a", "", "b", "", "c", "")
	stop := errors.New("enough")
	calls := 0
	err := s.View(t.Context(), func(tx store.Tx) error {
		return tx.Scan("", func(string, []byte) error {
			calls++
			if calls == 2 {
				return stop
			}
			return nil
		})
	})
	if !errors.Is(err, stop) || calls != 2 {
		t.Errorf("%d calls, error %v; want 2 and the function's error", calls, err)
	}
}

func testValuesAreCopies(t *testing.T, s store.Store) {
	value := []byte("good")
	var kept []byte
	err := s.Update(t.Context(), func(tx store.Tx) error {
		if err := tx.Put("k", value); err != nil {
			return err
		}
		copy(value, "evil")
		got, err := tx.Get("k")
		copy(got, "EVIL")
		return err
	})
	err = errors.Join(err, s.View(t.Context(), func(tx store.Tx) error {
		got, err := tx.Get("k")
		kept = got
		copy(got, "vile")
		return errors.Join(err, tx.Scan("", func(_ string, value []byte) error {
			copy(value, "veil")
			return nil
		}))
	}))
	if err != nil || string(kept) != "vile" {
		t.Fatalf("%q, %v", kept, err)
	}
	wantAll(t, s, "", "k=good")
}

func testFailedUpdate(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	failure := errors.New("no")
	err := s.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.Put("a", []byte("2")), tx.Put("b", nil), failure)
	})
	if !errors.Is(err, failure) {
		t.Errorf("error %v, want the function's", err)
	}
	wantAll(t, s, "", "a=1")
}

func testPanic(t *testing.T, s store.Store) {
	func() {
		defer func() {
			if r := recover(); r != "oh" {
				t.Errorf("recovered %v, want the function's panic", r)
			}
		}()
		_ = s.Update(t.Context(), func(tx store.Tx) error {
			_ = tx.Put("a", nil)
			panic("oh")
		})
	}()
	put(t, s, "b", "1")
	wantAll(t, s, "", "b=1")
}

func testViewIsReadOnly(t *testing.T, s store.Store) {
	err := s.View(t.Context(), func(tx store.Tx) error {
		if err := tx.Put("a", nil); !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("put: %v, want ErrReadOnly", err)
		}
		if err := tx.Delete("a"); !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("delete: %v, want ErrReadOnly", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testSnapshot(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	err := s.View(t.Context(), func(tx store.Tx) error {
		updated := make(chan error)
		go func() {
			updated <- s.Update(t.Context(), func(tx store.Tx) error { return tx.Put("a", []byte("2")) })
		}()
		if err := <-updated; err != nil { // it does not wait for this reader
			return err
		}
		got, err := tx.Get("a")
		if string(got) != "1" {
			t.Errorf("a view sees %q, want what was there when it began", got)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, s, "", "a=2")
}

func testTxDone(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	var leaked store.Tx
	keep := func(tx store.Tx) error { leaked = tx; return nil }
	for name, err := range map[string]error{"view": s.View(t.Context(), keep), "update": s.Update(t.Context(), keep)} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, getErr := leaked.Get("a")
		scanErr := leaked.Scan("", func(string, []byte) error { return nil })
		for _, err := range []error{getErr, scanErr, leaked.Put("a", nil), leaked.Delete("a")} {
			if !errors.Is(err, store.ErrTxDone) {
				t.Errorf("use after the end: %v, want ErrTxDone", err)
			}
		}
	}
}

func testContext(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Update(ctx, func(tx store.Tx) error {
		waiting, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Update(waiting, func(tx store.Tx) error { return tx.Put("never", nil) }) }()
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("waiting update: %v, want context.Canceled", err)
		}
		cancel()
		return tx.Put("a", []byte("2"))
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("update whose context ended: %v, want context.Canceled", err)
	}
	unreachable := func(store.Tx) error { t.Error("the function ran although the context had ended"); return nil }
	for name, err := range map[string]error{"view": s.View(ctx, unreachable), "update": s.Update(ctx, unreachable)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}
	wantAll(t, s, "", "a=1")
}

func testConcurrent(t *testing.T, s store.Store) {
	const workers, each = 8, 25
	failure := errors.New("on purpose")
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				err := s.Update(t.Context(), func(tx store.Tx) error { return increment(tx, w, i) })
				if err != nil {
					t.Errorf("update: %v", err)
				}
				err = s.Update(t.Context(), func(tx store.Tx) error {
					return errors.Join(tx.Put("counter", []byte("wrong")), failure)
				})
				if !errors.Is(err, failure) {
					t.Errorf("failing update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	var own []string
	for w := range workers {
		own = append(own, fmt.Sprintf("own/%d=%d", w, each-1))
	}
	slices.Sort(own)
	wantAll(t, s, "", append([]string{fmt.Sprintf("counter=%d", workers*each)}, own...)...)
}

// increment adds one to the counter and notes the worker's last number.
func increment(tx store.Tx, worker, number int) error {
	count := 0
	value, err := tx.Get("counter")
	switch {
	case err == nil:
		if _, err := fmt.Sscan(string(value), &count); err != nil {
			return err
		}
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return errors.Join(
		tx.Put("counter", fmt.Append(nil, count+1)),
		tx.Put(fmt.Sprintf("own/%d", worker), fmt.Append(nil, number)))
}

func testClose(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	nothing := func(store.Tx) error { t.Error("the function ran on a closed store"); return nil }
	for name, err := range map[string]error{"view": s.View(t.Context(), nothing), "update": s.Update(t.Context(), nothing)} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
}
