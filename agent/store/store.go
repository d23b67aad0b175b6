// Package store keeps durably what a node has been assigned and what became of
// it, in one bbolt file. A write is on disk when Save returns; a process that
// is killed at any moment leaves either all or nothing of it. It owns the
// file, and with it the claim to the state directory: a second agent on the
// same one is turned away. It knows nothing about what an instance means.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/edgeio/edgeio/agent/workload"
)

// FileName is the name of the file in the state directory.
const FileName = "agent.db"

// format is the version of what the file holds.
const format = "1"

var (
	bucketMeta      = []byte("meta")
	bucketInstances = []byte("instances")
	keyFormat       = []byte("format")
)

// ErrInUse is wrapped by Open when another process has the store open.
var ErrInUse = errors.New("another agent is running with this state directory")

// Store is safe for concurrent use.
type Store struct {
	db   *bbolt.DB
	path string
}

// Open opens or creates the store in dir.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("create the state directory: %w", err)
	}
	return open(dir, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
}

// OpenReadOnly opens the store of an agent that does not run, for looking.
func OpenReadOnly(dir string) (*Store, error) {
	return open(dir, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true})
}

// lockTimeout lets an agent that is just ending give the file free.
const lockTimeout = 500 * time.Millisecond

func open(dir string, o *bbolt.Options) (s *Store, err error) {
	path := filepath.Join(dir, FileName)
	// bbolt panics on some kinds of damage.
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, damaged(path, fmt.Errorf("%v", r))
		}
	}()
	db, err := bbolt.Open(path, 0o600, o)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("open %s: %w; stop it, or give this one another state_dir", path, ErrInUse)
	case err != nil && fromSystem(err):
		return nil, fmt.Errorf("open %s: %w", path, err)
	case err != nil: // bbolt has no common class for what it finds wrong in the file
		return nil, damaged(path, err)
	}
	s = &Store{db: db, path: path}
	if o.ReadOnly {
		err = db.View(s.checkFormat)
	} else {
		err = db.Update(s.prepare)
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return s, nil
}

// fromSystem reports whether an error is the system's, not about what is in
// the file.
func fromSystem(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}

func damaged(path string, cause error) error {
	return fmt.Errorf("%s is damaged: %w; move it away and start the agent again: "+
		"what still runs is then stopped, and the parent sends all assignments anew", path, cause)
}

func (s *Store) prepare(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", s.path, err)
	}
	if _, err := tx.CreateBucketIfNotExists(bucketInstances); err != nil {
		return fmt.Errorf("prepare %s: %w", s.path, err)
	}
	if meta.Get(keyFormat) == nil {
		return meta.Put(keyFormat, []byte(format))
	}
	return s.checkFormat(tx)
}

func (s *Store) checkFormat(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil || tx.Bucket(bucketInstances) == nil {
		return damaged(s.path, errors.New("not written by an agent"))
	}
	if f := string(meta.Get(keyFormat)); f != format {
		return fmt.Errorf("%s has format %q, this agent knows %q: it was written by a newer agent; use that one, or move the file away", s.path, f, format)
	}
	return nil
}

// Close gives the file free.
func (s *Store) Close() error { return s.db.Close() }

// Load returns all instances.
func (s *Store) Load() (all []workload.Instance, err error) {
	defer func() {
		if r := recover(); r != nil {
			all, err = nil, damaged(s.path, fmt.Errorf("%v", r))
		}
	}()
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketInstances).ForEach(func(k, v []byte) error {
			var in workload.Instance
			if err := json.Unmarshal(v, &in); err != nil {
				return damaged(s.path, fmt.Errorf("instance %q: %w", k, err))
			}
			if in.ID != string(k) {
				return damaged(s.path, fmt.Errorf("instance %q is filed under %q", in.ID, k))
			}
			all = append(all, in)
			return nil
		})
	})
	return all, err
}

// Save writes and deletes instances in one transaction.
func (s *Store) Save(put []workload.Instance, del []string) error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketInstances)
		for i := range put {
			v, err := json.Marshal(&put[i])
			if err != nil {
				return fmt.Errorf("encode instance %s: %w", put[i].ID, err)
			}
			if err := b.Put([]byte(put[i].ID), v); err != nil {
				return err
			}
		}
		for _, id := range del {
			if err := b.Delete([]byte(id)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	return nil
}
