// Package external runs drivers as programs of their own: the host side, which
// starts and supervises such a program and is a drivers.Driver for the agent,
// and Serve, which makes a program of a driver.
//
// Both speak the driver protocol: lines of JSON over a Unix socket, one
// connection per call. README.md describes it for drivers in other languages.
// The package knows nothing of what a driver does, and keeps nothing about
// workloads: those belong to the driver, and outlive its program.
package external

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// Config says which program is the driver.
type Config struct {
	Path    string // of the program
	Name    string // of the runtime; default: the program's file name without its prefix
	Dir     string // for the program's state; made if it is not there
	AgentID string // for drivers that mark what is this agent's

	hang time.Duration // hangTimeout if 0
}

const (
	// probeTimeout bounds a Probe without a deadline.
	probeTimeout = 10 * time.Second
	// resumeBase and resumeCap bound the pauses of calls that go on after the
	// program was lost.
	resumeBase, resumeCap = 20 * time.Millisecond, 5 * time.Second
	// watchCap bounds the pauses after a Watch that the program has refused.
	watchCap = time.Minute
)

// Driver is a driver in a program of its own, which it keeps running.
//
// It is an Execer and a StatsReader whatever the program can do; what that is,
// the features say that Probe returns, and the others are ErrUnsupported.
//
// While the program is away, calls fail with ErrUnavailable, as do those that
// were under way. Only Wait and Logs with Follow go on with the next program.
type Driver struct {
	client
	cfg Config
	log *slog.Logger

	socketDir string
	suspicion chan struct{} // the program may hang
	stop      context.CancelFunc
	done      chan struct{} // the supervisor has returned
	pid       atomic.Int64  // of the newest program

	mu      sync.Mutex
	phase   phase
	reason  string        // why the program is away
	changed chan struct{} // closed at the next change of phase
}

var (
	_ drivers.Driver      = (*Driver)(nil)
	_ drivers.Execer      = (*Driver)(nil)
	_ drivers.StatsReader = (*Driver)(nil)
	_ drivers.Watcher     = (*Driver)(nil)
)

// phase is where the program is in its life.
type phase int

const (
	starting phase = iota // calls wait for it
	ready
	away   // it failed, and will be started again
	closed // by Close
)

// New starts the program that cfg names and returns before it is ready. The
// caller calls Close. A program that does not work is no error: it is started
// again and again, and Probe says what is wrong.
func New(cfg Config, log *slog.Logger) (*Driver, error) {
	if cfg.Name == "" {
		cfg.Name = strings.TrimPrefix(filepath.Base(cfg.Path), Prefix)
	}
	if cfg.hang == 0 {
		cfg.hang = hangTimeout
	}
	var err error
	if cfg.Path, err = filepath.Abs(cfg.Path); err != nil {
		return nil, fmt.Errorf("driver program: %w", err)
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("folder of driver %s: %w", cfg.Name, err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of driver %s: %w", cfg.Name, err)
	}
	dir, err := makeSocketDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("folder for the socket of driver %s: %w", cfg.Name, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &Driver{
		cfg: cfg, log: log, socketDir: dir, stop: stop,
		suspicion: make(chan struct{}, 1), done: make(chan struct{}), changed: make(chan struct{}),
	}
	d.client = client{dial: d.connect, suspect: d.suspected}
	go func() {
		defer close(d.done)
		d.supervise(ctx)
	}()
	return d, nil
}

// Close ends the program; its workloads go on. Calls under way fail.
func (d *Driver) Close() error {
	d.stop()
	<-d.done
	if err := os.RemoveAll(d.socketDir); err != nil {
		return fmt.Errorf("driver %s: remove its socket: %w", d.cfg.Name, err)
	}
	return nil
}

func (d *Driver) socket() string { return filepath.Join(d.socketDir, "s") }

func (d *Driver) set(p phase, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.phase, d.reason = p, reason
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *Driver) state() (phase, string, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.phase, d.reason, d.changed
}

func (d *Driver) suspected() {
	select {
	case d.suspicion <- struct{}{}:
	default: // it is suspected already
	}
}

// await waits until the program is ready. A patient caller also waits for one
// that has failed.
func (d *Driver) await(ctx context.Context, patient bool) error {
	for {
		p, reason, changed := d.state()
		switch {
		case p == ready:
			return nil
		case p == closed:
			return errors.New("the driver is closed")
		case p == away && !patient:
			return errors.New(reason)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if p == away {
				return fmt.Errorf("%s: %w", reason, ctx.Err())
			}
			return fmt.Errorf("the driver program is being started: %w", ctx.Err())
		}
	}
}

// connect is how the client reaches the program.
func (d *Driver) connect(ctx context.Context) (net.Conn, error) {
	if err := d.await(ctx, false); err != nil {
		return nil, &lostError{cause: err, away: true}
	}
	return dial(ctx, d.socket())
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, &lostError{cause: fmt.Errorf("the driver program does not answer: %w", err)}
	}
	return conn, nil
}

// Probe implements drivers.Driver.
func (d *Driver) Probe(ctx context.Context) drivers.Info {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	info, err := d.probe(ctx)
	if err != nil {
		return drivers.Info{Name: d.cfg.Name, Endpoint: d.cfg.Path, Reason: d.why(err), Remedy: "see what it says in the agent's log; it is started again by itself"}
	}
	info.Name = d.cfg.Name
	if info.Endpoint == "" {
		info.Endpoint = d.cfg.Path
	}
	slices.Sort(info.Features)
	return info
}

// why words the failure of a Probe in one line that stays the same while the
// reason does.
func (d *Driver) why(err error) string {
	if p, reason, _ := d.state(); p == away {
		return reason
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "the driver program " + d.cfg.Path + " does not answer in time"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Wait implements drivers.Driver. If the program is lost meanwhile, it asks the
// next one.
func (d *Driver) Wait(ctx context.Context, h drivers.Handle) (drivers.Exit, error) {
	for tries := 0; ; tries++ {
		exit, err := d.client.Wait(ctx, h)
		if !resumable(ctx, err, tries) {
			return exit, err
		}
		if err := d.back(ctx, tries, resumeCap); err != nil {
			return drivers.Exit{}, drivers.Errorf(drivers.ErrUnavailable, callWait, h.ID, "%w", err)
		}
	}
}

// Logs implements drivers.Driver. With Follow, if the program is lost
// meanwhile, it goes on with the next one where it was.
func (d *Driver) Logs(ctx context.Context, h drivers.Handle, o drivers.LogOptions, sink func(drivers.LogEntry) error) error {
	at := newPlace(o, time.Now())
	for tries := 0; ; tries++ {
		err := d.client.Logs(ctx, h, at.options(), func(e drivers.LogEntry) error {
			if e, fresh := at.pass(e); fresh {
				tries = 0
				return sink(e)
			}
			return nil
		})
		if tries > 0 && o.Follow && errors.Is(err, drivers.ErrNotFound) {
			return nil // it was removed meanwhile
		}
		if !o.Follow || !resumable(ctx, err, tries) {
			return err
		}
		if err := d.back(ctx, tries, resumeCap); err != nil {
			return drivers.Errorf(drivers.ErrUnavailable, callLogs, h.ID, "%w", err)
		}
		at.resume()
	}
}

// resumable tells whether a call that failed with err goes on with the next
// program. One that has not begun does not: the caller learns at once.
func resumable(ctx context.Context, err error, tries int) bool {
	var lost *lostError
	return errors.As(err, &lost) && ctx.Err() == nil && (!lost.away || tries > 0)
}

// back waits until there is a program again, after a pause of up to limit.
func (d *Driver) back(ctx context.Context, tries int, limit time.Duration) error {
	// The connection may be lost before the supervisor knows of the end.
	pause := min(resumeBase<<min(tries, 16), limit)
	select {
	case <-time.After(pause/2 + rand.N(pause)):
	case <-ctx.Done():
		return ctx.Err()
	}
	return d.await(ctx, true)
}

// Watch implements drivers.Watcher: it tells when the program comes and goes,
// and what the program notices.
func (d *Driver) Watch(ctx context.Context, changed func()) error {
	var mu sync.Mutex // changed is not called twice at once
	tell := func() { mu.Lock(); defer mu.Unlock(); changed() }
	ctx, cancel := context.WithCancel(ctx)
	var inner sync.WaitGroup
	defer inner.Wait()
	defer cancel()
	inner.Go(func() { d.watchProgram(ctx, tell) })
	was, _, next := d.state()
	for {
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
		var p phase
		if p, _, next = d.state(); (p == ready) != (was == ready) || p == away || p == closed {
			tell()
		}
		was = p
		if p == closed {
			return drivers.Errorf(drivers.ErrUnavailable, callWatch, "", "the driver is closed")
		}
	}
}

// watchProgram passes on what one program after the other notices.
func (d *Driver) watchProgram(ctx context.Context, changed func()) {
	for tries := 0; ctx.Err() == nil; tries++ {
		err := d.client.Watch(ctx, func() { tries = 0; changed() })
		if errors.Is(err, drivers.ErrUnsupported) {
			return
		}
		limit := watchCap
		if lost := new(lostError); errors.As(err, &lost) {
			limit = resumeCap
		}
		if d.back(ctx, tries, limit) != nil {
			return
		}
	}
}
