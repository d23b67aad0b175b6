package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// format is the version of what is in the file that this program writes.
const format = 1

// lockTimeout bounds the wait for the file's lock: long enough for a
// predecessor that is just ending, short enough for somebody who looks on.
const lockTimeout = 2 * time.Second

// mapBytes is the address space reserved for the file. It costs no memory; up
// to it, the file can grow without waiting for readers to end.
const mapBytes = 32 << 20 << (^uint(0) >> 63 * 3) // 256 MiB, 32 MiB on 32-bit

// growBytes is by how much the file grows at a time; bbolt's 16 MiB are much
// for a small orchestrator, and for each backup of one.
const growBytes = 1 << 20

// OpenBolt opens the store in the file at path, or creates it with mode 0600.
// The whole file is read and checked first. The error is ErrLocked while
// another process has it open, ErrNewer if a newer program has written it, and
// ErrDamaged if it makes no sense; each says what to do.
func OpenBolt(path string) (Store, error) {
	if err := create(path); err != nil {
		return nil, fmt.Errorf("create store %s: %w", path, err)
	}
	db, err := openFile(path, lockTimeout)
	if err != nil {
		return nil, openError(path, err)
	}
	if err := verify(db); err != nil {
		_ = guard(db.Close) // the first error tells more
		return nil, openError(path, err)
	}
	removeLeftovers(path)
	return newFile(path, db), nil
}

// removeLeftovers deletes what a crash within create has left. Failing to is harmless.
func removeLeftovers(path string) {
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new-*")) // fails only on a bad pattern
	for _, name := range left {
		_ = os.Remove(name)
	}
}

// create makes an empty store appear at path at once and whole, so that no
// crash leaves a file that is neither empty nor a store.
func create(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	if err := temp.Close(); err != nil {
		return err
	}
	if err := initialise(temp.Name()); err != nil {
		return err
	}
	// A link, not a rename: it does not replace the store of somebody who was faster.
	if err := os.Link(temp.Name(), path); err != nil {
		if _, statErr := os.Stat(path); statErr != nil {
			return err
		}
	}
	return syncDir(dir)
}

func initialise(path string) error {
	db, err := openFile(path, lockTimeout)
	if err != nil {
		return err
	}
	err = db.Update(func(btx *bolt.Tx) error {
		meta, err := btx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if _, err := btx.CreateBucket(dataBucket); err != nil {
			return err
		}
		return meta.Put(formatKey, []byte(strconv.Itoa(format)))
	})
	return errors.Join(err, db.Close())
}

// openFile opens the bbolt file. The list of free pages is kept on the disk:
// without it bbolt rebuilds it in a goroutine whose panic on a damaged file
// would end the process.
func openFile(path string, timeout time.Duration) (db *bolt.DB, err error) {
	var opened *os.File
	options := &bolt.Options{
		Timeout:         timeout,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: mapBytes,
		NoStatistics:    true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			opened = f
			return f, err
		},
	}
	err = guard(func() (err error) {
		db, err = bolt.Open(path, 0o600, options)
		return err
	})
	if errors.Is(err, errPanic) && opened != nil {
		_ = opened.Close() // bbolt did not get to it; its lock would stay
	}
	if err != nil {
		return nil, err
	}
	db.AllocSize = growBytes
	return db, nil
}

// verify reads all of the file: first the structure under our own guard, then,
// on pages that are known to be readable, bbolt's check of the free ones.
func verify(db *bolt.DB) error {
	return guard(func() error {
		return db.View(func(btx *bolt.Tx) error {
			info, err := os.Stat(db.Path())
			if err != nil {
				return err
			}
			if info.Size() < btx.Size() {
				return fmt.Errorf("%w: it has %d bytes, %d belong to it", ErrDamaged, info.Size(), btx.Size())
			}
			if err := checkFormat(btx); err != nil {
				return err
			}
			if err := walk(btx.Bucket(dataBucket)); err != nil {
				return err
			}
			for err := range btx.Check() {
				if err != nil {
					return fmt.Errorf("%w: %w", ErrDamaged, err)
				}
			}
			return nil
		})
	})
}

func checkFormat(btx *bolt.Tx) error {
	meta, data := btx.Bucket(metaBucket), btx.Bucket(dataBucket)
	if meta == nil || data == nil {
		return fmt.Errorf("%w: it is not a store of edgecontrol", ErrDamaged)
	}
	text := string(meta.Get(formatKey))
	version, err := strconv.Atoi(text)
	if err != nil || version < 1 {
		return fmt.Errorf("%w: its format version is %q", ErrDamaged, text)
	}
	if version > format {
		return fmt.Errorf("%w: it has format %d, this program knows up to %d", ErrNewer, version, format)
	}
	return nil
}

// walk touches every key and value and sees to their order, on which bbolt's search relies.
func walk(bucket *bolt.Bucket) error {
	var last []byte
	return bucket.ForEach(func(k, v []byte) error {
		if v == nil || len(k) == 0 || (last != nil && bytes.Compare(last, k) >= 0) {
			return fmt.Errorf("%w: keys are out of order near %.40q", ErrDamaged, k)
		}
		last = k
		for i := 0; i < len(v); i += os.Getpagesize() {
			_ = v[i] // a page that is not there faults here
		}
		return nil
	})
}

// openError says what is wrong with the file and what to do about it.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("open store %s: %w: another edgecontrol uses this data directory%s; stop it, or give this one a data directory of its own",
			path, ErrLocked, holder(path))
	case errors.Is(err, ErrNewer):
		return fmt.Errorf("open store %s: %w; start the newer program again, or restore the backup made before it was installed", path, err)
	case errors.Is(err, ErrDamaged), errors.Is(err, errPanic),
		errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrInvalidMapping):
		return damaged(path, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("open store: %w; run as the user who owns the file", err)
	}
	if info, statErr := os.Stat(path); statErr == nil && info.Mode().IsRegular() {
		// What is left are bbolt's unnamed complaints about the file ("file size too small").
		var pathErr *os.PathError
		if !errors.As(err, &pathErr) {
			return damaged(path, err)
		}
	}
	return fmt.Errorf("open store %s: %w", path, err)
}

// damaged words what is wrong with the file together with the ways out.
func damaged(path string, err error) error {
	if !errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return fmt.Errorf("store %[1]s: %[2]w; stop edgecontrol and keep a copy of the file (mv %[1]s %[1]s.damaged), then put a backup in its place; "+
		"or start without the file: users, tokens, jobs and the authority's keys kept in it are lost then, and nodes must join again", path, err)
}

// errPanic marks an error that was a panic or a memory fault.
var errPanic = errors.New("cannot be read")

// guard turns a panic of bbolt, or a fault on a page that the file no longer
// has, into an error.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return fn()
}

// syncDir makes the directory's entries durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
