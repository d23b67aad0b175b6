package artifact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"golang.org/x/sys/unix"
)

// partialAge is how long an interrupted download waits to be resumed.
const partialAge = 7 * 24 * time.Hour

// pin keeps an entry from being evicted, by this process or another: it holds
// a shared lock on the entry's lock file.
type pin struct {
	lock  *os.File
	count int
}

// acquire pins the entry and returns its path; false if there is none.
func (c *Cache) acquire(digest string) (string, bool, error) {
	c.pinMu.Lock()
	defer c.pinMu.Unlock()
	dir := c.path("entries", digest)
	p := c.pins[digest]
	if p == nil {
		lock, err := os.Open(filepath.Join(dir, "lock"))
		if errors.Is(err, fs.ErrNotExist) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		// An evictor holds its lock for the moment of a rename only.
		if err := flock(lock, syscall.LOCK_SH); err != nil || !isAt(lock, lock.Name()) {
			return "", false, errors.Join(err, lock.Close())
		}
		p = &pin{lock: lock}
		c.pins[digest] = p
	}
	p.count++
	now := time.Now()
	_ = os.Chtimes(p.lock.Name(), now, now) // only the order of eviction suffers
	for _, kind := range []string{"file", "tree"} {
		path := filepath.Join(dir, kind)
		if _, err := os.Lstat(path); err == nil {
			return path, true, nil
		}
	}
	return "", false, fmt.Errorf("the cached image %s has no content; remove that folder", dir)
}

// Acquire keeps a path that an earlier process got from Fetch in the cache
// until Release: for workloads that were adopted. It tells whether the path is
// (still) in the cache; one that never was there needs no Acquire.
func (c *Cache) Acquire(path string) (bool, error) {
	digest, ok := c.digestOf(path)
	if !ok {
		return false, nil
	}
	_, ok, err := c.acquire(digest)
	return ok, err
}

// Release takes back one Fetch or Acquire of the path. For a path outside the
// cache it does nothing.
func (c *Cache) Release(path string) {
	digest, ok := c.digestOf(path)
	if !ok {
		return
	}
	c.pinMu.Lock()
	defer c.pinMu.Unlock()
	p := c.pins[digest]
	if p == nil {
		return
	}
	if p.count--; p.count == 0 {
		_ = p.lock.Close() // of a file that was only read
		delete(c.pins, digest)
	}
}

func (c *Cache) digestOf(path string) (string, bool) {
	rel, err := filepath.Rel(c.path("entries"), path)
	if err != nil {
		return "", false
	}
	digest, _, _ := strings.Cut(rel, string(filepath.Separator))
	return digest, isDigest(digest)
}

func (c *Cache) has(digest string) bool {
	_, err := os.Lstat(c.path("entries", digest, "lock"))
	return err == nil
}

// publish makes the verified file with this digest an entry: unpacked if it is
// an archive, else as it is (the file is then moved away). The entry appears
// whole, and is on the disk before it does.
func (c *Cache) publish(ctx context.Context, digest, file string, canMove bool, report func(drivers.Progress)) (err error) {
	stage, err := c.stage()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.discard()) }()
	kind, err := detect(file)
	if err != nil {
		return err
	}
	if kind == plain {
		target := filepath.Join(stage.dir, "file")
		if !canMove {
			return fmt.Errorf("publish %s: a plain file must be ours", file)
		}
		if err := os.Chmod(file, 0o555); err != nil {
			return err
		}
		// A second name rather than a new one: the old one is the lock that
		// others wait for until the entry is there.
		if os.Link(file, target) != nil {
			if err := os.Rename(file, target); err != nil { // no links on this file system
				return err
			}
		}
	} else if err := unpack(ctx, file, kind, filepath.Join(stage.dir, "tree"), c.cfg.Unpack, report); err != nil {
		return err
	}
	size, err := treeSize(stage.dir)
	if err != nil {
		return err
	}
	if size > c.cfg.MaxBytes {
		return classed(drivers.ErrExhausted, "it needs %d bytes, the image cache is bounded to %d; raise the bound", size, c.cfg.MaxBytes)
	}
	if err := os.WriteFile(filepath.Join(stage.dir, "size"), strconv.AppendInt(nil, size, 10), 0o644); err != nil {
		return err
	}
	c.evict(c.cfg.MaxBytes - size)
	if err := stage.sync(); err != nil {
		return err
	}
	err = os.Rename(stage.dir, c.path("entries", digest))
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist) {
		return nil // another process was faster with the same content
	}
	return err
}

// evict removes the least recently used entries until the others have at most
// limit bytes. What is in use stays, even if that is too much.
func (c *Cache) evict(limit int64) {
	entries, err := os.ReadDir(c.path("entries"))
	if err != nil {
		c.log.Warn("image cache cannot be read", "dir", c.cfg.Dir, "err", err)
		return
	}
	type candidate struct {
		digest string
		size   int64
		used   time.Time
	}
	var all []candidate
	var total int64
	for _, e := range entries {
		info, err := os.Stat(c.path("entries", e.Name(), "lock"))
		if err != nil {
			continue // evicted meanwhile
		}
		text, _ := os.ReadFile(c.path("entries", e.Name(), "size")) // unreadable: nothing gained by it
		size, _ := strconv.ParseInt(string(text), 10, 64)
		all = append(all, candidate{e.Name(), size, info.ModTime()})
		total += size
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(a.used.Compare(b.used), strings.Compare(a.digest, b.digest))
	})
	for _, e := range all {
		if total <= limit {
			return
		}
		gone, err := c.remove(e.digest)
		if err != nil {
			c.log.Warn("image cannot be evicted", "image", e.digest, "err", err)
		}
		if gone {
			total -= e.size
			c.log.Debug("image evicted", "image", e.digest, "bytes", e.size)
		}
	}
}

// remove deletes an entry unless it is in use.
func (c *Cache) remove(digest string) (gone bool, err error) {
	lock, err := os.Open(c.path("entries", digest, "lock"))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist), nil
	}
	defer func() { _ = lock.Close() }() // of a file that was only read
	if err := flock(lock, syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if !isAt(lock, lock.Name()) {
		return true, nil
	}
	stage, err := c.stage()
	if err != nil {
		return false, err
	}
	err = os.Rename(c.path("entries", digest), filepath.Join(stage.dir, digest))
	return err == nil, errors.Join(err, stage.discard())
}

// stage is a folder in tmp/ for putting an entry together. Its lock tells
// other processes that somebody is at it; in the entry the same file serves pins.
type stage struct {
	dir  string
	lock *os.File
}

func (c *Cache) stage() (*stage, error) {
	dir, err := os.MkdirTemp(c.path("tmp"), "stage-*")
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err == nil {
		if err = flock(lock, syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
			_ = lock.Close() // the first error tells more
		}
	}
	if err == nil {
		err = os.Chmod(dir, 0o755) // workloads of other users run from it
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &stage{dir, lock}, nil
}

// sync makes all of the stage durable with one call, however many files it has.
func (s *stage) sync() error {
	if err := unix.Syncfs(int(s.lock.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", s.dir, err)
	}
	return nil
}

// discard deletes the stage if it was not published.
func (s *stage) discard() error { return errors.Join(os.RemoveAll(s.dir), s.lock.Close()) }

// clean removes what dead processes have left, and then what is too much.
func (c *Cache) clean() error {
	stages, err := os.ReadDir(c.path("tmp"))
	if err != nil {
		return err
	}
	for _, e := range stages {
		if err := c.cleanStage(c.path("tmp", e.Name())); err != nil {
			return err
		}
	}
	partials, err := os.ReadDir(c.path("partial"))
	if err != nil {
		return err
	}
	for _, e := range partials {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > partialAge {
			err = os.Remove(c.path("partial", e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	c.evict(c.cfg.MaxBytes)
	return c.cleanRefs()
}

// refAge is how old a file in refs/ must be that no reference is read from: one
// that is just being written is younger.
const refAge = time.Minute

// cleanRefs forgets references to content that is not here any more. There is
// one for each tag and URL that was ever used.
func (c *Cache) cleanRefs() error {
	refs, err := os.ReadDir(c.path("refs"))
	if err != nil {
		return err
	}
	for _, e := range refs {
		path := c.path("refs", e.Name())
		if r, ok := readRef(path); ok && c.has(r.SHA256) {
			continue
		}
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > refAge {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (c *Cache) cleanStage(dir string) error {
	lock, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		// One that is just being made has no lock for a moment: leave the young.
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) < time.Minute {
			return nil
		}
		return os.RemoveAll(dir)
	}
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // of a file that was only read
	if flock(lock, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil // its maker lives
	}
	return os.RemoveAll(dir)
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// isAt tells whether the open file is what is at path.
func isAt(f *os.File, path string) bool {
	here, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(here, there)
}

// treeSize adds up the regular files below dir.
func treeSize(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
