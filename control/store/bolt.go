package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// maxGroup bounds how many updates share one commit, so that the first of them
// does not wait for ever under load.
const maxGroup = 256

var (
	metaBucket = []byte("meta")
	dataBucket = []byte("data")
	formatKey  = []byte("format")
)

// file is a Store in one bbolt file. Updates that arrive while another commit
// is on its way to the disk share the next one: the cost of a commit is the
// disk's, not ours.
type file struct {
	path string
	db   *bolt.DB

	requests chan *request // unbuffered: who has sent is in a group
	closing  chan struct{}
	stopped  chan struct{} // the writer has ended

	mu      sync.RWMutex // held for reading by every View, for writing by Close
	isEnded bool
}

// request is an Update that waits for its turn. Its function runs in the
// goroutine that called Update, so that a panic hits who caused it.
type request struct {
	turn chan *bolt.Tx // from the writer: your turn
	ran  chan outcome  // to the writer: what came of it
	done chan error    // from the writer: committed
}

// outcome is what a function has left in its group's transaction.
type outcome int

const (
	nothing outcome = iota // it wrote nothing, or failed before
	written                // all of its writes
	broken                 // a part of them: nothing of the group may be committed
)

func newFile(path string, db *bolt.DB) *file {
	f := &file{
		path:     path,
		db:       db,
		requests: make(chan *request),
		closing:  make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	go f.write()
	return f
}

func (f *file) View(ctx context.Context, fn func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.isEnded {
		return fmt.Errorf("read the store: %w", ErrClosed)
	}
	var btx *bolt.Tx
	err := guard(func() (err error) {
		btx, err = f.db.Begin(false)
		return err
	})
	if err != nil {
		return f.fault("read", err)
	}
	defer func() { _ = btx.Rollback() }() // of a read-only transaction: cannot fail
	t := &tx{ctx: ctx, base: boltReader{f, btx}}
	defer func() { t.done = true }()
	return fn(t)
}

func (f *file) Update(ctx context.Context, fn func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write to the store: %w", err)
	}
	r := &request{turn: make(chan *bolt.Tx), ran: make(chan outcome), done: make(chan error, 1)}
	select {
	case <-f.closing: // checked first: select chooses at random
		return fmt.Errorf("write to the store: %w", ErrClosed)
	default:
	}
	select {
	case f.requests <- r:
	case <-f.closing:
		return fmt.Errorf("write to the store: %w", ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("write to the store: %w", ctx.Err())
	}
	btx, ok := <-r.turn
	if !ok {
		return <-r.done
	}
	left, err := f.runTurn(ctx, btx, r, fn)
	if err != nil || left == nothing {
		return err
	}
	return <-r.done
}

// runTurn runs fn and hands its writes to the group's transaction. Whatever
// fn does, a panic included, the writer hears of it.
func (f *file) runTurn(ctx context.Context, btx *bolt.Tx, r *request, fn func(Tx) error) (left outcome, err error) {
	defer func() { r.ran <- left }()
	t := &tx{ctx: ctx, base: boltReader{f, btx}, writes: map[string]write{}}
	defer func() { t.done = true }()
	if err := fn(t); err != nil {
		return nothing, err
	}
	if err := ctx.Err(); err != nil {
		return nothing, fmt.Errorf("write to the store: %w", err)
	}
	if len(t.writes) == 0 {
		return nothing, nil
	}
	if err := guard(func() error { return apply(btx, t) }); err != nil {
		return broken, f.fault("write to", err)
	}
	return written, nil
}

func apply(btx *bolt.Tx, t *tx) error {
	data := btx.Bucket(dataBucket)
	for _, key := range t.sortedWrites() {
		var err error
		if w := t.writes[key]; w.deleted {
			err = data.Delete([]byte(key))
		} else {
			err = data.Put([]byte(key), w.value)
		}
		if err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
	}
	return nil
}

// write owns all write transactions. It ends when the store closes.
func (f *file) write() {
	defer close(f.stopped)
	for {
		select {
		case first := <-f.requests:
			f.commitGroup(first)
		case <-f.closing:
			return
		}
	}
}

// commitGroup gives the first request its turn, then all that wait by now, and
// commits what they wrote at once.
func (f *file) commitGroup(first *request) {
	var btx *bolt.Tx
	err := guard(func() (err error) {
		btx, err = f.db.Begin(true)
		return err
	})
	if err != nil {
		first.done <- f.fault("write to", err)
		close(first.turn)
		return
	}
	group := make([]*request, 0, 8)
	left := nothing
	for next := first; next != nil; {
		next.turn <- btx
		if left = <-next.ran; left == written {
			group = append(group, next)
		}
		next = nil
		if len(group) < maxGroup && left != broken {
			next = f.waiting()
		}
	}
	err = f.commit(btx, len(group) > 0, left == broken)
	for _, r := range group {
		r.done <- err
	}
}

func (f *file) commit(btx *bolt.Tx, wrote, isBroken bool) error {
	if isBroken || !wrote {
		_ = guard(btx.Rollback) // nothing was written yet
		if isBroken {
			return f.fault("write to", errors.New("another update of the same commit found it unusable"))
		}
		return nil
	}
	if err := guard(btx.Commit); err != nil {
		_ = guard(btx.Rollback)
		return f.fault("write to", err)
	}
	return nil
}

// waiting returns a request that is there now, or nil.
func (f *file) waiting() *request {
	select {
	case r := <-f.requests:
		return r
	default:
		return nil
	}
}

func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isEnded {
		return nil
	}
	f.isEnded = true
	close(f.closing)
	<-f.stopped
	if err := guard(f.db.Close); err != nil {
		return fmt.Errorf("close store %s: %w", f.path, err)
	}
	return nil
}

// Backup writes a consistent copy; see Backuper. Updates go on meanwhile.
func (f *file) Backup(ctx context.Context, w io.Writer) (n int64, err error) {
	err = f.View(ctx, func(t Tx) error {
		btx := t.(*tx).base.(boltReader).btx
		return guard(func() (err error) {
			n, err = btx.WriteTo(contextWriter{ctx, w})
			return err
		})
	})
	if err != nil {
		return n, fmt.Errorf("back up store %s: %w", f.path, err)
	}
	return n, nil
}

// contextWriter fails once its context has ended.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

// fault words an error of bbolt for the user.
func (f *file) fault(doing string, err error) error {
	if errors.Is(err, errPanic) {
		return damaged(f.path, err)
	}
	return fmt.Errorf("%s store %s: %w", doing, f.path, err)
}

// boltReader reads from a bbolt transaction. bbolt panics on pages that make
// no sense; here that becomes an error, while a panic of fn stays one.
type boltReader struct {
	f   *file
	btx *bolt.Tx
}

func (r boltReader) get(key string) (value []byte, found bool, err error) {
	err = guard(func() error {
		value = r.btx.Bucket(dataBucket).Get([]byte(key))
		return nil
	})
	if err != nil {
		return nil, false, r.f.fault("read", err)
	}
	return value, value != nil, nil
}

func (r boltReader) scan(prefix string, fn func(string, []byte) error) error {
	var c *bolt.Cursor
	var k, v []byte
	err := guard(func() error {
		c = r.btx.Bucket(dataBucket).Cursor()
		k, v = c.Seek([]byte(prefix))
		return nil
	})
	for err == nil && k != nil && strings.HasPrefix(string(k), prefix) {
		if err := fn(string(k), v); err != nil {
			return err
		}
		err = guard(func() error {
			k, v = c.Next()
			return nil
		})
	}
	if err != nil {
		return r.f.fault("read", err)
	}
	return nil
}

var (
	_ Store    = (*file)(nil)
	_ Backuper = (*file)(nil)
	_ Store    = (*memory)(nil)
)
