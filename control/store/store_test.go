package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/edgeio/edgeio/control/store"
	"github.com/edgeio/edgeio/control/store/storetest"
	bolt "go.etcd.io/bbolt"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(testing.TB) store.Store { return store.Memory() })
}

func TestBolt(t *testing.T) {
	dir := t.TempDir()
	files := 0
	storetest.Run(t, func(testing.TB) store.Store {
		files++
		return open(t, filepath.Join(dir, fmt.Sprint(files)))
	})
}

func open(t testing.TB, path string) store.Store {
	t.Helper()
	s, err := store.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// fill puts n keys of some size, several pages in all.
func fill(t testing.TB, s store.Store, n int) {
	t.Helper()
	err := s.Update(t.Context(), func(tx store.Tx) error {
		for i := range n {
			if err := tx.Put(fmt.Sprintf("key/%05d", i), bytes.Repeat([]byte{byte(i)}, 200)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func count(t testing.TB, s store.Store) int {
	t.Helper()
	n := 0
	err := s.View(t.Context(), func(tx store.Tx) error {
		return tx.Scan("", func(string, []byte) error { n++; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBoltReopens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	fill(t, s, 500)
	closeStore(t, s)
	s = open(t, path)
	defer closeStore(t, s)
	if n := count(t, s); n != 500 {
		t.Errorf("%d keys after reopening, want 500", n)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 || info.Size() > 2<<20 {
		t.Errorf("file: %v, mode %v, %d bytes; want 0600 and no more than the data needs", err, info.Mode(), info.Size())
	}
}

func TestBoltIsExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	defer closeStore(t, s)
	_, err := store.OpenBolt(path)
	if !errors.Is(err, store.ErrLocked) {
		t.Fatalf("second open: %v, want ErrLocked", err)
	}
	for _, want := range []string{path, "another edgecontrol", fmt.Sprintf("process %d", os.Getpid())} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
}

func TestBoltCreatedByManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := store.OpenBolt(path) // each waits for the one before it
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v; want the store alone", entries, err)
	}
}

func TestBoltRefusesNewerFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	closeStore(t, open(t, path))
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte("7"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = store.OpenBolt(path)
	if !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), "format 7") {
		t.Errorf("open: %v, want ErrNewer that names the format", err)
	}
}

func TestBoltRefusesDamaged(t *testing.T) {
	tests := map[string]func([]byte) []byte{
		"text":            func([]byte) []byte { return []byte("this is not a store\n") },
		"zeroes":          func(b []byte) []byte { return make([]byte, len(b)) },
		"cut in half":     func(b []byte) []byte { return b[:20*os.Getpagesize()] },
		"no data":         func(b []byte) []byte { return b[:2*os.Getpagesize()] },
		"both heads gone": func(b []byte) []byte { clear(b[:2*os.Getpagesize()]); return b },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			s := open(t, path)
			fill(t, s, 500)
			closeStore(t, s)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			content = damage(content)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = store.OpenBolt(path)
			if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "backup") {
				t.Errorf("open: %v, want ErrDamaged with the file and the way out", err)
			}
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(after, content) {
				t.Errorf("the damaged file was changed (%v)", err)
			}
		})
	}
}

// A page that was never written, or written in part, must be noticed when the
// store is opened, or be of no matter: there must never be a crash.
func TestBoltTornWrites(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	s := open(t, path)
	fill(t, s, 500)
	for i := range 20 {
		fill(t, s, 10*i)
	}
	// A backup has no unused pages at its end.
	var backup bytes.Buffer
	if _, err := s.(store.Backuper).Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	good := backup.Bytes()
	pages := len(good) / os.Getpagesize()
	opened := 0
	for page := range pages {
		for name, damage := range map[string]func([]byte) []byte{
			"zeroed":    func(b []byte) []byte { clear(b[page*os.Getpagesize():][:os.Getpagesize()]); return b },
			"torn":      func(b []byte) []byte { clear(b[page*os.Getpagesize()+512:][:os.Getpagesize()-512]); return b },
			"truncated": func(b []byte) []byte { return b[:page*os.Getpagesize()+512] },
			"misplaced": func(b []byte) []byte {
				binary.LittleEndian.PutUint64(b[page*os.Getpagesize():], 1<<40)
				return b
			},
		} {
			copied := filepath.Join(dir, fmt.Sprintf("%s-%d", name, page))
			if err := os.WriteFile(copied, damage(bytes.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := store.OpenBolt(copied)
			if err == nil {
				opened++
				count(t, s)
				fill(t, s, 100)
				closeStore(t, s)
			} else if !errors.Is(err, store.ErrDamaged) {
				t.Errorf("page %d %s: %v, want ErrDamaged", page, name, err)
			}
			if err := os.Remove(copied); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d pages, damaged in 4 ways each: %d copies opened", pages, opened)
}

func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "store.db"))
	defer closeStore(t, s)
	fill(t, s, 300)
	path := filepath.Join(dir, "backup.db")
	if err := store.BackupFile(t.Context(), s.(store.Backuper), path); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 400)
	restored := open(t, path)
	defer closeStore(t, restored)
	if n := count(t, restored); n != 300 {
		t.Errorf("%d keys in the backup, want 300", n)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v; want mode 0600", info, err)
	}
}

func TestBackupLeavesNothingWhenCancelled(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "store.db"))
	defer closeStore(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.BackupFile(ctx, s.(store.Backuper), filepath.Join(dir, "backup.db")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "store.db"))
			defer closeStore(b, s)
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					err := s.Update(b.Context(), func(tx store.Tx) error { return tx.Put("key", []byte("value")) })
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
