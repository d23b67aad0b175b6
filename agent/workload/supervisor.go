package workload

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
)

// Store keeps instances durably.
type Store interface {
	Load() ([]Instance, error)
	// Save writes and deletes in one transaction, durable when it returns.
	Save(put []Instance, del []string) error
}

// Images gets images for drivers that want a local file. What Fetch or Acquire
// has given stays where it is until Release was called as often.
type Images interface {
	Fetch(ctx context.Context, image drivers.Image, progress func(drivers.Progress)) (path string, err error)
	Acquire(path string) (there bool, err error)
	Release(path string)
}

// Config is what a Supervisor works with.
type Config struct {
	Drivers map[string]drivers.Driver // by the name that job files use
	Images  Images                    // may be nil if no driver wants files
	Store   Store
	Host    Host
	BootID  string // of the node; changes with each boot
	Log     *slog.Logger
}

// parallel bounds how many workloads of one driver are created or started at
// once; more makes neither Docker nor fork/exec faster.
const parallel = 8

// Supervisor makes the node's assignments true. Its methods are safe for
// concurrent use; those that take assignments wait until Run has begun.
type Supervisor struct {
	cfg     Config
	log     *slog.Logger
	started chan struct{}
	stopped chan struct{}
	spawn   chan *actor
	applies chan struct{} // one Apply at a time
	reportC chan struct{}
	offerC  chan struct{}
	journal *journal

	mu       sync.Mutex
	host     Host
	actors   map[string]*actor
	runtimes map[string]*runtime
	reports  map[string]struct{} // instances with news for the parent
}

// runtime is a driver with what is known of it.
type runtime struct {
	driver    drivers.Driver
	info      drivers.Info
	probed    chan struct{} // closed when info is known
	recovered bool          // what it holds is known: its instances may act
	slots     chan struct{}
	woken     chan struct{} // its state may have changed: try again
}

// actor is an instance and, while there is something to do, the goroutine that
// does it. All fields are guarded by Supervisor.mu.
type actor struct {
	in       Instance
	epoch    int                // counts the wishes that overtake an action
	cancel   context.CancelFunc // of the action under way
	running  bool               // has its goroutine
	held     bool               // its newest wish is not on disk yet
	due      bool               // the parent is to be told once it is
	kick     chan struct{}
	progress *drivers.Progress
	shownAt  time.Time     // of progress
	changed  chan struct{} // closed at the next step; nil if nobody waits
}

// New reads the store. It starts nothing.
func New(cfg Config) (*Supervisor, error) {
	all, err := cfg.Store.Load()
	if err != nil {
		return nil, err
	}
	s := &Supervisor{
		cfg: cfg, log: cfg.Log, host: cfg.Host,
		started: make(chan struct{}), stopped: make(chan struct{}),
		spawn: make(chan *actor), applies: make(chan struct{}, 1),
		reportC: make(chan struct{}, 1), offerC: make(chan struct{}, 1),
		actors: map[string]*actor{}, runtimes: map[string]*runtime{}, reports: map[string]struct{}{},
	}
	s.journal = newJournal(s)
	for _, in := range all {
		s.actors[in.ID] = newActor(in)
	}
	for name, d := range cfg.Drivers {
		s.runtimes[name] = &runtime{
			driver: d, info: drivers.Info{Name: name, Reason: "not looked at yet"},
			probed: make(chan struct{}), slots: make(chan struct{}, parallel), woken: make(chan struct{}, 1),
		}
	}
	return s, nil
}

func newActor(in Instance) *actor { return &actor{in: in, kick: make(chan struct{}, 1)} }

// Run drives all instances until the context ends. It leaves workloads
// running; what it knows is on disk when it returns.
func (s *Supervisor) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	journalCtx, stopJournal := context.WithCancel(context.WithoutCancel(ctx))
	go s.journal.run(journalCtx)
	defer func() {
		close(s.stopped)
		wg.Wait()
		stopJournal()
		<-s.journal.done
	}()
	for name, r := range s.runtimes {
		wg.Go(func() { s.watchRuntime(ctx, name, r) })
		wg.Go(func() { s.recover(ctx, name, r) })
	}
	foreign := s.failForeign()
	wg.Go(func() { s.start(foreign) })
	close(s.started)
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-s.spawn:
			wg.Go(func() { s.drive(ctx, a) })
		}
	}
}

// failForeign ends the instances whose driver this agent does not have. It
// returns those that are only waiting to be forgotten.
func (s *Supervisor) failForeign() []*actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	var start []*actor
	for _, a := range s.actors {
		if _, ok := s.runtimes[a.in.Job.Runtime]; ok || !a.in.Active() {
			continue
		}
		if !a.in.Removed {
			err := drivers.Errorf(drivers.ErrInvalid, "take over", a.in.ID, "this agent has no runtime %s any more", a.in.Job.Runtime)
			a.in.Inspect = true
			s.step(a, Event{Kind: EventError, Err: err})
		}
		if s.claim(a) {
			start = append(start, a)
		}
	}
	return start
}

// drive does what an instance asks for, one action after the other, until
// there is nothing to do.
func (s *Supervisor) drive(ctx context.Context, a *actor) {
	for {
		s.mu.Lock()
		act := Next(a.in, time.Now())
		if act.Kind == ActNothing || a.held || ctx.Err() != nil {
			a.running = false
			s.mu.Unlock()
			return
		}
		actionCtx, cancel := context.WithCancel(ctx)
		a.cancel = cancel
		epoch, in := a.epoch, a.in
		s.mu.Unlock()

		ev := s.perform(actionCtx, a, in, act)
		cancel()

		s.mu.Lock()
		a.cancel, a.progress = nil, nil
		switch {
		case a.epoch != epoch:
			if ev.Kind == EventCreated {
				s.step(a, Event{Kind: EventLate, Handle: ev.Handle, Image: ev.Image})
			}
		case ctx.Err() != nil && (ev.Kind == EventError || ev.Kind == EventTimer):
			// The agent is ending; nothing is known of the workload by this, and
			// a pause is not over.
		default:
			s.step(a, ev)
		}
		s.mu.Unlock()
	}
}

// step applies an event. The caller holds mu.
func (s *Supervisor) step(a *actor, ev Event) {
	before := a.in
	a.in = Step(a.in, ev, Env{Now: time.Now(), BootID: s.cfg.BootID})
	if a.in.State != before.State || a.in.Generation != before.Generation {
		s.logChange(a.in)
	}
	if a.in.Reserves() != before.Reserves() || a.in.State != before.State || a.in.Generation != before.Generation {
		signal(s.offerC)
	}
	for _, image := range dropped(before, a.in, ev) {
		s.releaseImage(image)
	}
	// What only repeats itself after a crash need not hurry to the disk: it
	// goes with the next write.
	if a.in.Seq != before.Seq || a.in.Removed != before.Removed || a.in.Generation != before.Generation {
		a.due = true
		s.journal.mark(a.in.ID)
	} else {
		s.journal.note(a.in.ID)
		if a.in.Note != before.Note && !a.held {
			s.news(a.in.ID)
		}
	}
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

func (s *Supervisor) logChange(in Instance) {
	reason := ""
	if n := len(in.Changes); n > 0 {
		reason = in.Changes[n-1].Reason
	}
	s.log.Info("instance changed", "instance", in.ID, "generation", in.Generation, "job", in.Job.Name, "state", in.State, "reason", reason)
}

// overtake makes a wish of the parent's the newest thing that an instance
// knows. The action under way goes on until release. The caller holds mu.
func (s *Supervisor) overtake(a *actor, ev Event) {
	a.epoch++
	a.held, a.due = true, true
	s.step(a, ev)
}

// release lets actors go on whose wishes are on disk.
func (s *Supervisor) release(actors []*actor) {
	var start []*actor
	s.mu.Lock()
	for _, a := range actors {
		a.held = false
		s.news(a.in.ID)
		if a.cancel != nil {
			a.cancel()
		}
		if s.claim(a) {
			start = append(start, a)
		}
	}
	s.mu.Unlock()
	s.start(start)
}

// claim reports whether the caller must start the actor's goroutine. The
// caller holds mu.
func (s *Supervisor) claim(a *actor) bool {
	r := s.runtimes[a.in.Job.Runtime]
	if a.running || a.held || !a.in.Active() || (r != nil && !r.recovered) {
		return false
	}
	a.running = true
	return true
}

func (s *Supervisor) start(actors []*actor) {
	for _, a := range actors {
		select {
		case s.spawn <- a:
		case <-s.stopped:
			return
		}
	}
}

// Instances returns all instances, ordered by id.
func (s *Supervisor) Instances() []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Instance, 0, len(s.actors))
	for _, id := range slices.Sorted(maps.Keys(s.actors)) {
		all = append(all, s.actors[id].in)
	}
	return all
}

// Has reports whether the node holds an instance of that id.
func (s *Supervisor) Has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.actors[id]
	return ok
}

// Refusals says why this node would not take a job now; none: it would.
func (s *Supervisor) Refusals(j job.Job) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, reasons := s.admit(j, "")
	return reasons
}

// admit leaves instance except out of the reckoning. The caller holds mu.
func (s *Supervisor) admit(j job.Job, except string) (devices []drivers.Device, reasons []string) {
	return admit(j, s.host, s.taken(except), s.infos())
}

// taken is what all instances but one have of the node. The caller holds mu.
func (s *Supervisor) taken(except string) taken {
	var t taken
	for id, a := range s.actors {
		if id == except || !a.in.Reserves() {
			continue
		}
		t.resources = t.resources.Plus(Requirements(a.in.Job))
		for _, p := range a.in.Job.Ports {
			t.ports = append(t.ports, drivers.Port{Protocol: protocol(p.Protocol), HostPort: p.HostPort})
		}
		t.devices = append(t.devices, a.in.heldDevices()...)
	}
	return t
}

func (s *Supervisor) infos() map[string]drivers.Info {
	m := make(map[string]drivers.Info, len(s.runtimes))
	for name, r := range s.runtimes {
		m[name] = r.info
	}
	return m
}

// lookup finds an instance for a user's question about it.
func (s *Supervisor) lookup(id string) (*actor, error) {
	a, ok := s.actors[id]
	if !ok {
		return nil, fmt.Errorf("instance %s: %w on this node", id, drivers.ErrNotFound)
	}
	return a, nil
}

// signal wakes whoever waits on c, now or later, once.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
