package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgeio/edgeio/control/scheduler"
	"github.com/edgeio/edgeio/control/store"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/link"
	"github.com/edgeio/edgeio/proto/placement"
)

// Tier is where in the tree an orchestrator stands.
type Tier string

// The tiers.
const (
	Root    Tier = "root"
	Cluster Tier = "cluster"
)

// Config is what a Core needs. All fields but the last three are required.
type Config struct {
	Tier     Tier
	ID       string
	Name     string
	Store    store.Store
	Strategy scheduler.Strategy
	Logger   *slog.Logger

	UsageInterval time.Duration    // that children are asked for; default 15 s
	DanglingAfter time.Duration    // without a session until instances count as DANGLING; default 10 s
	Now           func() time.Time // default time.Now
}

// Core is an orchestrator's state and the one place that changes it. See the
// package comment. Its methods are safe for concurrent use; those that change
// something need Run to be running.
type Core struct {
	cfg Config
	log *slog.Logger

	commands chan *command
	stopped  chan struct{} // closed when Run has returned

	mu        sync.RWMutex // guards all below; Run alone writes the tables
	jobs      *table[Job]
	instances *table[Instance]
	children  *table[Child]
	revision  uint64
	byChild   map[string]map[string]struct{} // child id → ids of its instances
	byJob     map[string]map[string]struct{} // job id → ids of its instances
	byKey     map[ownedKey]string            // idempotency key → id of its latest job
	unplaced  map[string]struct{}
	live      map[string]*live     // connected children
	away      map[string]time.Time // since when the others are, as far as this process knows
	gathered  *gathered            // traits of the connected children; nil: to be worked out
	progress  map[string]*pb.Progress
	retry     map[string]bool // children to try the unplaced at; true: also what they refused
	recent    ring            // the latest events
	changed   chan struct{}   // closed, and made anew, when there are new events

	explaining map[string]struct{} // instances whose rejections are asked for; of Run's goroutine
	asking     chan struct{}       // bounds how many are asked for at a time
	background sync.WaitGroup      // goroutines that Run waits for; of Run's goroutine

	outbox        map[string]struct{} // instances to report to the parent
	outboxReady   chan struct{}
	offerChanged  chan struct{}
	offerSequence atomic.Uint64
}

// live is what is known of a child while it is connected.
type live struct {
	session  *session
	offer    *pb.Offer
	offerAt  time.Time
	runtimes []*pb.Runtime
	usage    *pb.UsageSample
	usageAt  time.Time
	since    time.Time

	dirty   map[string]struct{}  // instances whose assignment the child must be told
	unacked map[string]*Instance // assigned, but not in the offer yet
	free    []scheduler.Fit      // the offer less what is unacked; nil: to be worked out
	traits  *placement.Traits    // of offer, runtimes and the child's labels; nil: to be worked out
	kick    chan struct{}        // capacity 1
	told    chan struct{}        // closed when something is acknowledged; nil if nobody waits

	retrying bool // a timer runs after which it is tried again
}

const (
	jobPrefix      = "job/"
	instancePrefix = "instance/"
	childPrefix    = "child/"
	historyPrefix  = "history/"
	revisionKey    = "meta/revision"
)

// New reads the state from the store.
func New(ctx context.Context, cfg Config) (*Core, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.UsageInterval == 0 {
		cfg.UsageInterval = 15 * time.Second
	}
	if cfg.DanglingAfter == 0 {
		cfg.DanglingAfter = 10 * time.Second
	}
	c := &Core{
		cfg: cfg, log: cfg.Logger,
		commands: make(chan *command, 1024), stopped: make(chan struct{}),
		jobs:      newTable[Job](jobPrefix),
		instances: newTable[Instance](instancePrefix),
		children:  newTable[Child](childPrefix),
		byChild:   map[string]map[string]struct{}{}, byJob: map[string]map[string]struct{}{},
		byKey:    map[ownedKey]string{},
		unplaced: map[string]struct{}{},
		live:     map[string]*live{}, away: map[string]time.Time{}, progress: map[string]*pb.Progress{},
		retry: map[string]bool{}, changed: make(chan struct{}),
		explaining: map[string]struct{}{}, asking: make(chan struct{}, maxAsking),
		outbox: map[string]struct{}{}, outboxReady: make(chan struct{}, 1), offerChanged: make(chan struct{}, 1),
	}
	if err := cfg.Store.View(ctx, c.load); err != nil {
		return nil, fmt.Errorf("read the orchestrator's state: %w", err)
	}
	for _, in := range c.instances.records {
		c.index(nil, in)
	}
	for _, j := range c.jobs.records {
		c.indexJob(nil, j)
	}
	c.recent.first, c.recent.next = c.revision+1, c.revision+1
	return c, nil
}

func (c *Core) load(tx store.Tx) error {
	err := c.jobs.load(tx, func(j *Job) (string, error) { return j.ID, j.parse() })
	if err != nil {
		return err
	}
	err = c.instances.load(tx, func(in *Instance) (string, error) { return in.ID, in.parse() })
	if err != nil {
		return err
	}
	err = c.children.load(tx, func(ch *Child) (string, error) { return ch.ID, nil })
	if err != nil {
		return err
	}
	value, err := tx.Get(revisionKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(value, &c.revision)
}

// command is a change that waits for its turn.
type command struct {
	run     func(*txn) error
	err     error
	claimed atomic.Bool // by who carries it out, or by who gave it and has gone
	done    chan struct{}
}

// maxBatch bounds how many commands share a commit, and so how long the first
// of them waits for the others.
const maxBatch = 512

// do has a command carried out and waits until it is in the store. If the
// context ends before its turn has come, it is not carried out at all; so what
// run writes to may be read once do has returned.
func (c *Core) do(ctx context.Context, run func(*txn) error) error {
	cmd := &command{run: run, done: make(chan struct{})}
	select {
	case c.commands <- cmd:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stopped:
		return errStopped
	}
	select {
	case <-cmd.done:
		return cmd.err
	case <-ctx.Done():
		if cmd.claimed.CompareAndSwap(false, true) {
			return ctx.Err()
		}
	case <-c.stopped:
	}
	select {
	case <-cmd.done:
		return cmd.err
	case <-c.stopped:
	}
	// Run has returned: it has finished the command, or never will.
	select {
	case <-cmd.done:
		return cmd.err
	default:
		return errStopped
	}
}

// later queues a command that nobody waits for, and never blocks its caller.
func (c *Core) later(run func(*txn) error) {
	cmd := &command{run: run, done: make(chan struct{})}
	select {
	case c.commands <- cmd:
	default:
		go func() {
			select {
			case c.commands <- cmd:
			case <-c.stopped:
			}
		}()
	}
}

var errStopped = link.Error(link.Unavailable, "the orchestrator is shutting down")

// Run carries out commands until the context ends.
func (c *Core) Run(ctx context.Context) error {
	defer close(c.stopped)
	ctx, cancel := context.WithCancel(ctx)
	defer c.background.Wait()
	defer cancel()
	// What was assigned to children that never come back must be noticed even
	// if they were away already when this process started.
	for id := range c.byChild {
		c.noteAway(id)
	}
	c.later(func(tx *txn) error { return tx.placeRequested() })
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case first := <-c.commands:
			c.runBatch(ctx, first)
		case <-sweep.C:
			c.later(func(tx *txn) error { tx.sweep(); return nil })
		}
	}
}

func (c *Core) runBatch(ctx context.Context, first *command) {
	batch := []*command{first}
	for len(batch) < maxBatch {
		select {
		case cmd := <-c.commands:
			batch = append(batch, cmd)
			continue
		default:
		}
		break
	}
	batch = slices.DeleteFunc(batch, func(cmd *command) bool { return !cmd.claimed.CompareAndSwap(false, true) })
	tx := c.begin(ctx)
	for _, cmd := range batch {
		cmd.err = tx.run(cmd.run)
	}
	// A batch in progress is finished also when the process is told to stop.
	if err := tx.commit(context.WithoutCancel(ctx)); err != nil {
		c.log.Error("write to the store", "err", err, "commands", len(batch))
		for _, cmd := range batch {
			if cmd.err == nil {
				cmd.err = link.Error(link.Unavailable, "write to the store: %w", err)
			}
		}
	}
	for _, cmd := range batch {
		close(cmd.done)
	}
}

// index keeps what is derived from an instance in step with a change from old
// to in; either may be nil. Called with mu held.
func (c *Core) index(old, in *Instance) {
	if old != nil {
		remove(c.byChild, old.ChildID, old.ID)
		remove(c.byJob, old.JobID, old.ID)
		delete(c.unplaced, old.ID)
	}
	if in != nil {
		add(c.byChild, in.ChildID, in.ID)
		add(c.byJob, in.JobID, in.ID)
		if in.unplaced() {
			c.unplaced[in.ID] = struct{}{}
		}
	}
}

func add(m map[string]map[string]struct{}, key, id string) {
	if key == "" {
		return
	}
	if m[key] == nil {
		m[key] = map[string]struct{}{}
	}
	m[key][id] = struct{}{}
}

func remove(m map[string]map[string]struct{}, key, id string) {
	delete(m[key], id)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}

// signal wakes whoever waits on a channel of capacity 1.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
