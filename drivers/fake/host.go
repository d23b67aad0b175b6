// Package fake is a driver without a runtime: its workloads follow scripts in
// memory. It passes the conformance suite for what it declares, and it can be
// made slow, failing or absent, for tests of the agent and for the simulator.
//
// A Host is the machine that holds the workloads; Drivers come and go, as
// agents do. A workload costs no goroutine, and its time is that of package
// time, so it runs under testing/synctest.
package fake

import (
	"sync"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// Op is a call of the driver, for Inject.
type Op string

// The calls that can be made to fail.
const (
	OpCreate Op = "create"
	OpStart  Op = "start"
	OpStop   Op = "stop"
	OpRemove Op = "remove"
	OpStatus Op = "status"
	OpWait   Op = "wait"
	OpLogs   Op = "logs"
	OpList   Op = "list"
	OpStats  Op = "stats"
)

// Fault is what happens to calls of one Op.
type Fault struct {
	Delay time.Duration // before anything else
	Err   error         // then the call fails with it, if not nil
	Times int           // for so many calls; 0: until cleared
}

// Script is what a workload does. The zero Script ends at once with code 0.
type Script struct {
	Steps   []Step              // one after the other
	Forever bool                // after the steps, wait for a signal rather than end
	Code    int                 // exit code at the end of the steps
	OOM     bool                // the end is that of a memory limit
	Signals map[string]Reaction // by name ("SIGTERM"); others end it with 128 + number
}

// Step is output after a pause.
type Step struct {
	After  time.Duration
	Stream drivers.Stream // Stdout if empty
	Text   string
}

// Reaction is what a workload does about a signal.
type Reaction struct {
	Ignore bool
	Text   string // last words on standard output
	Code   int    // exit code
}

// UntilStopped is the script of a service that obeys.
var untilStopped = Script{Forever: true}

// Host holds workloads. The zero value is not usable; see NewHost. It is safe
// for concurrent use.
type Host struct {
	script func(drivers.Spec) Script

	mu        sync.Mutex
	workloads map[key]*workload
	faults    map[Op]*Fault
	down      bool
	reason    string
	remedy    string
	changed   signal
	lastPID   int
}

type key struct {
	id         string
	generation uint64
}

// NewHost returns a Host without workloads. script says what each Spec does;
// nil: all run until they are stopped.
func NewHost(script func(drivers.Spec) Script) *Host {
	if script == nil {
		script = func(drivers.Spec) Script { return untilStopped }
	}
	return &Host{script: script, workloads: map[key]*workload{}, faults: map[Op]*Fault{}}
}

// Inject makes calls of op suffer f from now on.
func (h *Host) Inject(op Op, f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults[op] = &f
}

// Clear ends the fault of op.
func (h *Host) Clear(op Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.faults, op)
}

// Down makes the runtime unusable, as a daemon that has stopped: calls fail
// with ErrUnavailable, workloads go on. Watchers are told.
func (h *Host) Down(reason, remedy string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down, h.reason, h.remedy = true, reason, remedy
	h.changed.fire()
}

// Up ends Down.
func (h *Host) Up() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down, h.reason, h.remedy = false, "", ""
	h.changed.fire()
}

// Reboot ends all running workloads unseen, as a power cut does.
func (h *Host) Reboot() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.workloads {
		if w.phase == drivers.PhaseRunning {
			w.end(drivers.Exit{Code: -1, Lost: true, Reason: "the node was restarted"})
		}
	}
}

// End ends a running workload with exit; it tells whether one was running.
func (h *Host) End(id string, generation uint64, exit drivers.Exit) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.workloads[key{id, generation}]
	if w == nil || w.phase != drivers.PhaseRunning {
		return false
	}
	w.end(exit)
	return true
}

// signal wakes any number of waiters; each gets the channel first.
type signal struct{ ch chan struct{} }

func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
