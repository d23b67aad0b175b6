package capabilities

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgeio/edgeio/capabilities/hosttest"
)

// secret is in a file outside of the host root, to which links are made.
const secret = "not-for-the-report"

// mutate does something bad to some entries of a tree.
func mutate(t *testing.T, root, outside string, r *rand.Rand) {
	t.Helper()
	var all []string
	_ = filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if err == nil && p != root {
			all = append(all, p)
		}
		return nil
	})
	for range 1 + r.IntN(12) {
		p := all[r.IntN(len(all))]
		info, err := os.Lstat(p)
		if err != nil {
			continue // gone with its folder
		}
		if info.IsDir() && r.IntN(3) > 0 {
			continue // most of the tree shall live on
		}
		var content []byte
		if info.Mode().IsRegular() && info.Size() < 1<<20 { // not what an earlier round has put there
			content, _ = os.ReadFile(p)
		}
		_ = os.RemoveAll(p)
		switch r.IntN(9) {
		case 0: // stays away
		case 1:
			err = os.WriteFile(p, content[:r.IntN(len(content)+1)], 0o644)
		case 2:
			garbage := make([]byte, r.IntN(5000))
			for i := range garbage {
				garbage[i] = byte(r.Uint32())
			}
			err = os.WriteFile(p, garbage, 0o644)
		case 3:
			err = os.Mkdir(p, 0o755)
		case 4:
			if err = os.WriteFile(p, content, 0o644); err == nil {
				err = os.Truncate(p, 1<<40) // of which nothing is on the disk
			}
		case 5:
			err = syscall.Mkfifo(p, 0o644)
		case 6:
			err = os.Symlink(filepath.Base(p), p)
		case 7:
			err = os.Symlink(outside, p)
		case 8:
			err = os.WriteFile(p, bytes.Repeat([]byte("processor : 1\n-99999999999999999999 : ffff\n"), 1+r.IntN(3000)), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// survive discovers a mutated host, and samples it.
func survive(t *testing.T, name string, seed uint64) {
	h := host(t, name)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "model"), []byte(secret), 0o644); err != nil {
		t.Fatal(err)
	}
	target := outside
	if seed%2 == 0 {
		target = filepath.Join(outside, "model")
	}
	mutate(t, h.Root, target, rand.New(rand.NewPCG(seed, 1)))
	r := discover(t.Context(), h, Probers(), time.Minute) // much longer than a slow test machine needs
	for _, w := range r.Warnings {
		if strings.Contains(w, "panicked") || strings.Contains(w, "no answer in time") {
			t.Errorf("seed %d: %s", seed, w)
		}
	}
	text, err := json.Marshal(r)
	if err != nil || len(text) > 1<<20 || bytes.Contains(text, []byte(secret)) {
		t.Errorf("seed %d: a report of %d bytes, %v:\n%.2000s", seed, len(text), err, text)
	}
	for key, value := range Labels(r) {
		if len(key) > 128 || len(value) > 63 || strings.Trim(value, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
			t.Errorf("seed %d: label %q=%q", seed, key, value)
		}
	}
	if u, _ := NewSampler(h).Sample(t.Context()); u.CPUMillis < 0 || u.MemoryBytes < 0 || u.NetworkRxBytes < 0 || u.DiskReadBytes < 0 {
		t.Errorf("seed %d: usage %+v", seed, u)
	}
}

func TestMutatedHosts(t *testing.T) {
	rounds := uint64(5)
	if testing.Short() {
		rounds = 1
	}
	for _, name := range hosttest.Names() {
		t.Run(name, func(t *testing.T) {
			for seed := range rounds {
				survive(t, name, seed)
			}
		})
	}
}

func FuzzMutatedHost(f *testing.F) {
	names := hosttest.Names()
	for i := range names {
		f.Add(uint8(i), uint64(1000+i))
	}
	f.Fuzz(func(t *testing.T, which uint8, seed uint64) { survive(t, names[int(which)%len(names)], seed) })
}
