package workload

import (
	"slices"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
)

// EventKind says what has happened.
type EventKind int

// The events.
const (
	// From outside.
	EventReplace EventKind = iota // Assignment of a higher generation has come
	EventRemove                   // the instance is not wanted any more
	EventRecover                  // the agent has started again; Handle is what the runtime holds for this generation, Others for older ones

	// Results of actions.
	EventCleared
	EventCreated   // Handle, Image
	EventStarted   // Ports
	EventInspected // Status
	EventExited    // Exit, Tail
	EventTimer
	EventStopped
	EventRemoved
	EventError // Err: the action of the current phase could not be done
	EventLate  // Handle: an action from before a Replace or Remove has come back
)

// Event is something that happens to an instance.
type Event struct {
	Kind       EventKind
	Assignment Assignment
	Devices    []drivers.Device // EventReplace: for the Assignment
	Handle     *drivers.Handle
	Image      string
	Others     []drivers.Handle
	Status     drivers.Status
	Ports      []drivers.Port
	Exit       drivers.Exit
	Tail       string // last lines of output, if it ended badly
	Err        error
}

// Env is what a step needs to know besides.
type Env struct {
	Now    time.Time
	BootID string
}

// ActionKind says what is to be done.
type ActionKind int

// The actions.
const (
	ActNothing ActionKind = iota
	ActClear
	ActCreate
	ActStart
	ActInspect
	ActWait
	ActSleep
	ActStop
	ActRemove
)

// Action is what an instance's state asks for.
type Action struct {
	Kind ActionKind
	For  time.Duration // ActSleep
}

// Next says what is to be done for an instance.
func Next(in Instance, now time.Time) Action {
	if in.RetryIn > 0 {
		return Action{Kind: ActSleep, For: in.RetryIn}
	}
	if in.Inspect && in.Handle != nil && in.Phase != PhaseClear {
		return Action{Kind: ActInspect}
	}
	switch in.Phase {
	case PhaseClear:
		return Action{Kind: ActClear}
	case PhaseCreate:
		return Action{Kind: ActCreate}
	case PhaseStart:
		return Action{Kind: ActStart}
	case PhaseRun:
		return Action{Kind: ActWait}
	case PhaseWait:
		// Bounded by Delay, because the clock of a small board may have been
		// set back by a reboot.
		return Action{Kind: ActSleep, For: min(max(in.NotBefore.Sub(now), 0), in.Delay)}
	case PhaseStop:
		return Action{Kind: ActStop}
	case PhaseRemove:
		return Action{Kind: ActRemove}
	}
	return Action{Kind: ActNothing}
}

// Step returns the instance after an event.
func Step(in Instance, ev Event, env Env) Instance {
	switch ev.Kind {
	case EventReplace:
		return in.replace(ev, env)
	case EventRemove:
		return in.remove()
	case EventRecover:
		return in.recover(ev)
	case EventLate:
		return in.late(ev.Handle, ev.Image)
	case EventError:
		return in.failed(ev.Err, env)
	}
	if ev.Kind == EventTimer && in.RetryIn > 0 {
		in.RetryIn = 0 // the same action again; Tries counts on
		return in
	}
	in.RetryIn, in.Tries = 0, 0
	switch ev.Kind {
	case EventCleared:
		in.Leftovers, in.Held = nil, nil
		in.Phase = PhaseCreate
		if in.Removed {
			in.Phase = PhaseStop
		}
	case EventCreated:
		in.Handle, in.Image, in.Phase = ev.Handle, ev.Image, PhaseStart
	case EventStarted:
		return in.running("started", env.Now, ev.Ports, env)
	case EventInspected:
		return in.inspected(ev, env)
	case EventExited:
		return in.exited(ev, env)
	case EventTimer:
		if in.Phase == PhaseWait {
			in.Phase = in.startPhase()
		}
	case EventStopped:
		in.Phase = PhaseRemove
	case EventRemoved:
		in.Handle, in.Image = nil, ""
		in.Phase = PhaseGone
		return in.move(job.Terminated, "stopped and removed", nil, env.Now)
	}
	return in
}

func (in Instance) startPhase() Phase {
	if in.Handle == nil {
		return PhaseCreate
	}
	return PhaseStart
}

func (in Instance) replace(ev Event, env Env) Instance {
	next := accept(ev.Assignment, ev.Devices, env.Now)
	next.Held = in.heldDevices()
	next.Phase = PhaseClear
	next.Leftovers = slices.Clone(in.Leftovers)
	if in.Handle != nil {
		next.Leftovers = append(next.Leftovers, in.leftover(*in.Handle, in.Image))
	}
	return next
}

func (in Instance) leftover(h drivers.Handle, image string) Leftover {
	o := in.stopOptions()
	return Leftover{Image: image, Runtime: in.Job.Runtime, Handle: h, Signal: o.Signal, Grace: o.Grace}
}

// remove goes through PhaseStop also without a handle: an action under way may
// still bring one.
func (in Instance) remove() Instance {
	if in.Removed {
		return in
	}
	in.Removed, in.Inspect = true, false
	in.RetryIn, in.Tries = 0, 0
	if in.Phase != PhaseClear && in.Phase != PhaseGone {
		in.Phase = PhaseStop
	}
	in.Note = "stopping"
	return in
}

func (in Instance) late(h *drivers.Handle, image string) Instance {
	if h == nil {
		return in
	}
	if h.Generation == in.Generation {
		in.Handle, in.Image = h, image
		return in
	}
	if !slices.ContainsFunc(in.Leftovers, func(l Leftover) bool { return l.Handle.Generation == h.Generation }) {
		in.Leftovers = append(slices.Clone(in.Leftovers), in.leftover(*h, image))
	}
	in.Phase = PhaseClear
	return in
}

func (in Instance) recover(ev Event) Instance {
	if !in.Active() {
		return in
	}
	if in.Handle == nil {
		in.Handle = ev.Handle
	}
	in.Inspect = in.Handle != nil && !in.Removed
	if in.Phase == PhaseCreate || in.Phase == PhaseClear {
		for _, h := range ev.Others {
			in = in.late(&h, "")
		}
	}
	return in
}

func (in Instance) running(reason string, at time.Time, ports []drivers.Port, env Env) Instance {
	in.Phase = PhaseRun
	in.StartedAt, in.BootID = at, env.BootID
	in.Ports = ports
	return in.move(job.Running, reason, nil, env.Now)
}

func (in Instance) inspected(ev Event, env Env) Instance {
	in.Inspect = false
	switch ev.Status.Phase {
	case drivers.PhaseCreated:
		return in.notStarted(env)
	case drivers.PhaseRunning:
		at := ev.Status.StartedAt
		if at.IsZero() {
			at = in.StartedAt
		}
		return in.running("found running", at, ev.Status.Ports, env)
	case drivers.PhaseExited:
		// The end of a run that was dealt with already: the agent was killed
		// before it started the next one.
		old := in.Phase != PhaseRun && !in.StartedAt.IsZero() && !ev.Status.StartedAt.After(in.StartedAt)
		if old {
			return in
		}
		if !ev.Status.StartedAt.IsZero() {
			in.StartedAt = ev.Status.StartedAt
		}
		ev.Exit = ev.Status.Exit
		return in.exited(ev, env)
	}
	return in
}

func (in Instance) exited(ev Event, env Env) Instance {
	at := ev.Exit.At
	if at.IsZero() {
		at = env.Now
	}
	if in.State == job.ScheduledNode {
		in = in.move(job.Running, "started", nil, in.StartedAt)
	}
	exit := ev.Exit
	return in.end(ending{
		what:     describe(exit, in.Job.Requirements.Memory),
		success:  exit.Code == 0 && !exit.Lost && !exit.OOMKilled,
		reboot:   in.rebooted(env),
		futile:   exit.Permanent,
		ran:      at.Sub(in.StartedAt),
		failures: in.Failures,
	}, &exit, ev.Tail, env)
}

// rebooted reports whether the node has been started anew since the workload was.
func (in Instance) rebooted(env Env) bool { return in.BootID != "" && in.BootID != env.BootID }

func (in Instance) end(e ending, exit *drivers.Exit, tail string, env Env) Instance {
	if exit != nil {
		in.Exit = exit
	}
	v := judge(in.Job.Kind, in.Job.Restart, e)
	in.Failures = v.failures
	if !v.restart {
		in.Phase = PhaseEnded
		in.Final = v.reason
		if v.state == job.Failed && tail != "" {
			v.reason += "; last output:\n" + tail
		}
		return in.move(v.state, v.reason, exit, env.Now)
	}
	in.Restarts++
	in.Delay, in.NotBefore = v.delay, env.Now.Add(v.delay)
	in.Phase = PhaseWait
	if v.delay == 0 {
		in.Phase = in.startPhase()
	}
	return in.move(job.ScheduledNode, v.reason, exit, env.Now)
}

// notStarted deals with a workload that has not been started after all.
func (in Instance) notStarted(env Env) Instance {
	in.Phase = PhaseStart
	if in.State == job.Running {
		return in.move(job.ScheduledNode, "found not to run; starting it", nil, env.Now)
	}
	return in
}
