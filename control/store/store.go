// Package store keeps what an orchestrator must not forget: a small
// transactional key-value interface, an embedded store on one file (OpenBolt)
// and one in memory for tests (Memory).
//
// It owns durability, isolation and the format of the file. It knows nothing
// of what is stored: keys are strings that callers structure with "/", values
// are bytes that callers encode.
//
// All implementations pass the suite in package storetest.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Limits that every implementation enforces, so that what one store takes any
// other takes too. The value limit leaves room below etcd's default request
// size of 1.5 MiB.
const (
	MaxKeyBytes   = 1024
	MaxValueBytes = 1 << 20
)

// Errors of this package; test with errors.Is. Their text is meant for users.
var (
	ErrNotFound = errors.New("key not found")
	ErrReadOnly = errors.New("write in a read-only transaction")
	ErrInvalid  = errors.New("invalid key or value")
	ErrTxDone   = errors.New("transaction is over")
	ErrClosed   = errors.New("store is closed")
	ErrLocked   = errors.New("data directory is in use")
	ErrDamaged  = errors.New("store is damaged")
	ErrNewer    = errors.New("store was written by a newer program")
)

// Store is a transactional key-value store. It is safe for concurrent use.
//
// A function passed to View or Update must not begin another transaction, and
// must have no effect but through its Tx: an implementation over a network may
// run it again after a conflict.
type Store interface {
	// View runs fn on a consistent snapshot. It never waits for writers, nor they for it.
	View(ctx context.Context, fn func(Tx) error) error

	// Update runs fn and writes what it did, all or nothing. Updates are
	// serialised: each sees those before it. When Update returns nil the
	// writes survive kill -9 and power loss. When fn returns an error nothing
	// is written and that error is returned. The context bounds the wait for
	// the store's turn; a commit that has begun is awaited.
	Update(ctx context.Context, fn func(Tx) error) error

	// Close waits for running transactions and releases the store. Closing
	// twice does nothing.
	Close() error
}

// Tx is a transaction. It is valid until the function that got it returns and
// must not be used by several goroutines at once.
type Tx interface {
	// Get returns a copy of the value. It is ErrNotFound if there is none; an
	// empty value is not nil.
	Get(key string) ([]byte, error)

	// Put sets the value; the bytes are copied. ErrInvalid if the key is empty
	// or one of the two is longer than the limits.
	Put(key string, value []byte) error

	// Delete removes the key. Deleting what is not there does nothing.
	Delete(key string) error

	// Scan calls fn for every key that begins with prefix, in the order of
	// their bytes, with a copy of the value; the empty prefix means all. An
	// error of fn ends the scan and is returned. fn may write: a scan sees the
	// transaction as it was when the scan began.
	Scan(prefix string, fn func(key string, value []byte) error) error
}

// Backuper is implemented by stores that can be copied while in use.
type Backuper interface {
	// Backup writes a consistent copy, which Open takes as it is, and returns its size.
	Backup(ctx context.Context, w io.Writer) (int64, error)
}

func checkKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: the key is empty", ErrInvalid)
	case len(key) > MaxKeyBytes:
		return fmt.Errorf("%w: the key %.40q… has %d bytes, at most %d are allowed", ErrInvalid, key, len(key), MaxKeyBytes)
	}
	return nil
}

func checkValue(key string, value []byte) error {
	if len(value) > MaxValueBytes {
		return fmt.Errorf("%w: the value of %.80q has %d bytes, at most %d are allowed", ErrInvalid, key, len(value), MaxValueBytes)
	}
	return nil
}
