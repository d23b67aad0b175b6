package logread

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/crilog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestFollowAcrossRotations has a reader follow while a writer rotates all
// the time: nothing may be missing, nothing twice.
func TestFollowAcrossRotations(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "w")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "log")
	var n Notifier
	got := new(strings.Builder)
	const last = 3000
	enough := errors.New("enough")
	done := make(chan error, 1)
	go func() {
		done <- Read(t.Context(), &n, path, drivers.LogOptions{Follow: true, Tail: -1}, func(e drivers.LogEntry) error {
			got.Write(e.Data)
			if strings.HasSuffix(string(e.Data), fmt.Sprintf("%d\n", last)) {
				return enough
			}
			return nil
		})
	}()
	want := new(strings.Builder)
	w := crilog.Open(path, 4000, 99)
	for i := 1; i <= last; i++ {
		fmt.Fprintf(want, "%d\n", i)
		w.Write(time.Now(), "stdout", fmt.Appendf(nil, "%d\n", i))
	}
	w.Close()
	if err := <-done; !errors.Is(err, enough) {
		t.Errorf("Read: %v", err)
	}
	if got.String() != want.String() {
		t.Errorf("followed %d bytes, want %d", got.Len(), want.Len())
	}
}

func TestFollowEndsWithFolder(t *testing.T) {
	for name, end := range map[string]func(dir string) error{
		"removed": os.RemoveAll,
		"moved":   func(dir string) error { return os.Rename(dir, dir+"-gone") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "w")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			w := crilog.Open(filepath.Join(dir, "log"), 1000, 2)
			w.Write(time.Now(), "stdout", []byte("x\n"))
			w.Close()
			var n Notifier
			err := Read(t.Context(), &n, filepath.Join(dir, "log"), drivers.LogOptions{Follow: true, Tail: -1},
				func(drivers.LogEntry) error { return end(dir) })
			if err != nil {
				t.Errorf("Read: %v, want nil", err)
			}
		})
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := crilog.Open(path, 300, 50)
	for i := range 40 {
		w.Write(time.Now(), "stdout", fmt.Appendf(nil, "first half %d,", i))
		w.Write(time.Now(), "stderr", fmt.Appendf(nil, "error %d\n", i))
		w.Write(time.Now(), "stdout", []byte(" second half\n"))
	}
	w.Close()
	var n Notifier
	var got strings.Builder
	err := Read(t.Context(), &n, path, drivers.LogOptions{Tail: 3}, func(e drivers.LogEntry) error {
		got.Write(e.Data)
		return nil
	})
	const want = "error 38\nfirst half 39,error 39\n second half\n"
	// The second half of line 38 belongs to a line that begins before the tail.
	if err != nil || strings.Replace(got.String(), " second half\n", "", 1) != want && got.String() != want {
		t.Errorf("tail 3: %q, %v", got.String(), err)
	}
}

func TestManyFollowersShareOneNotifier(t *testing.T) {
	root := t.TempDir()
	var n Notifier
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const count = 300 // more than a user may have inotify instances
	seen := make(chan error, count)
	ended := make(chan error, count)
	for i := range count {
		dir := filepath.Join(root, fmt.Sprint(i%30))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		go func() {
			ended <- Read(ctx, &n, filepath.Join(dir, "log"), drivers.LogOptions{Follow: true, Tail: -1},
				func(drivers.LogEntry) error { seen <- nil; return nil })
		}()
	}
	for i := range 30 {
		w := crilog.Open(filepath.Join(root, fmt.Sprint(i), "log"), 1000, 2)
		w.Write(time.Now(), "stdout", []byte("x\n"))
		w.Close()
	}
	for range count {
		select {
		case <-seen:
		case err := <-ended:
			t.Fatalf("Read ended: %v", err)
		case <-time.After(30 * time.Second):
			t.Fatal("a follower saw nothing")
		}
	}
	cancel()
	for range count {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Read: %v", err)
		}
	}
}

// FuzzRead reads files with any content, as a power loss may leave.
func FuzzRead(f *testing.F) {
	good := string(crilog.Append(nil, time.Unix(1, 0), "stdout", []byte("one\ntwo\nthree")))
	f.Add([]byte(good), []byte(good), -1)
	f.Add([]byte(good[:len(good)-20]), []byte(good), 2)
	f.Add([]byte("\x00\x00\x00\n"+good), []byte(""), 1)
	f.Fuzz(func(t *testing.T, older, newer []byte, tail int) {
		path := filepath.Join(t.TempDir(), "log")
		for file, b := range map[string][]byte{crilog.Name(path, 1): older, path: newer} {
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var n Notifier
		bytes := 0
		err := Read(t.Context(), &n, path, drivers.LogOptions{Tail: tail}, func(e drivers.LogEntry) error {
			bytes += len(e.Data)
			return nil
		})
		if err != nil || bytes > len(older)+len(newer) {
			t.Errorf("Read: %d bytes of %d, %v", bytes, len(older)+len(newer), err)
		}
	})
}
