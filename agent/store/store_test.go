package store_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/edgeio/edgeio/agent/store"
	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
)

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func instance(id string, generation uint64) workload.Instance {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	return workload.Instance{
		Assignment: workload.Assignment{ID: id, Generation: generation, JobID: "j", Job: job.Job{Name: "n", Runtime: "fake", Env: map[string]string{"A": "\x00b"}}},
		Phase:      workload.PhaseRun, Handle: &drivers.Handle{Driver: "fake", ID: id, Generation: generation, Data: []byte(`{"pid":1}`)},
		State: job.Running, Seq: 2, Incarnation: 7, Changes: []workload.Change{{Seq: 2, Time: at, State: job.Running, Exit: &drivers.Exit{Code: 1}}},
		Leftovers: []workload.Leftover{{Runtime: "fake", Handle: drivers.Handle{ID: id}, Grace: time.Second}},
		StartedAt: at, BootID: "boot", Delay: time.Minute,
	}
}

func load(t *testing.T, s *store.Store) []workload.Instance {
	t.Helper()
	all, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatIsSavedIsThere(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	want := []workload.Instance{instance("a", 1), instance("b", 2)}
	if err := s.Save(append(want, instance("c", 3)), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(nil, []string{"c", "never"}); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if diff := cmp.Diff(want, load(t, open(t, dir))); diff != "" {
		t.Error(diff)
	}
}

func TestSecondOpenIsTurnedAway(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := store.Open(dir); !errors.Is(err, store.ErrInUse) {
		t.Errorf("got %v, want %v", err, store.ErrInUse)
	}
	_ = s.Close()
	r, err := store.OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
}

func TestDamageIsTold(t *testing.T) {
	damage := map[string]func(t *testing.T, path string){
		"garbage":   func(t *testing.T, path string) { write(t, path, []byte(strings.Repeat("garbage ", 4096))) },
		"cut short": func(t *testing.T, path string) { truncate(t, path, 100) },
		"too short": func(t *testing.T, path string) { write(t, path, []byte(strings.Repeat("garbage", 1000))) },
		"no record": func(t *testing.T, path string) { put(t, path, "instances", "a", "{") },
		"misfiled":  func(t *testing.T, path string) { put(t, path, "instances", "a", `{"id":"b"}`) },
		"newer":     func(t *testing.T, path string) { put(t, path, "meta", "format", "99") },
	}
	for name, f := range damage {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			if err := s.Save([]workload.Instance{instance("a", 1)}, nil); err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
			path := filepath.Join(dir, store.FileName)
			f(t, path)
			s, err := store.Open(dir)
			if err == nil {
				defer func() { _ = s.Close() }()
				_, err = s.Load()
			}
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move") {
				t.Errorf("got %v, want the file and a way out", err)
			}
		})
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, bucket, key, value string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put([]byte(key), []byte(value)) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestKilledWriter kills a process that writes, again and again, and checks
// that what it has called saved is there, and only whole transactions.
func TestKilledWriter(t *testing.T) {
	if dir := os.Getenv("STORE_TEST_DIR"); dir != "" {
		writeForever(dir)
		return
	}
	dir := t.TempDir()
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
		cmd.Env = append(os.Environ(), "STORE_TEST_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var saved uint64
		buf := make([]byte, 64<<10)
		for saved < uint64(20+7*round) {
			n, err := out.Read(buf)
			if err != nil {
				t.Fatalf("round %d: %v: %s", round, err, buf[:n])
			}
			lines := strings.Split(string(buf[:n]), "\n")
			for _, line := range lines[:len(lines)-1] {
				if g, err := strconv.ParseUint(line, 10, 64); err == nil {
					saved = g
				}
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()

		s := open(t, dir)
		all := load(t, s)
		_ = s.Close()
		if len(all) != 2 || all[0].Generation != all[1].Generation || all[0].Generation < saved {
			t.Fatalf("round %d: %d was saved, found %v", round, saved, all)
		}
	}
}

func writeForever(dir string) {
	s, err := store.Open(dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for g := uint64(1); ; g++ {
		if err := s.Save([]workload.Instance{instance("a", g), instance("b", g)}, nil); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(g)
	}
}
