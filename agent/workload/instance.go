package workload

import (
	"fmt"
	"slices"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/job"
)

// Phase says what an instance is busy with on this node. It is finer than
// job.State, which is what the parent gets to see.
type Phase string

// The phases; see the package comment.
const (
	PhaseClear  Phase = "clear"  // workloads of older generations are stopped and removed
	PhaseCreate Phase = "create" // the image is fetched, the workload created
	PhaseStart  Phase = "start"
	PhaseRun    Phase = "run"
	PhaseWait   Phase = "wait"   // for the next start by the restart policy
	PhaseEnded  Phase = "ended"  // failed or completed; the workload is kept for its output
	PhaseStop   Phase = "stop"   // not wanted any more
	PhaseRemove Phase = "remove" //
	PhaseGone   Phase = "gone"   // nothing is left of it but history
)

// Assignment is the wish of the parent that an instance runs here.
type Assignment struct {
	ID         string  `json:"id"`
	Generation uint64  `json:"generation"`
	JobID      string  `json:"job_id"`
	Index      uint32  `json:"index"`
	Job        job.Job `json:"job"`
}

// Change is one entry of an instance's history.
type Change struct {
	Seq    uint64        `json:"seq"`
	Time   time.Time     `json:"time"`
	State  job.State     `json:"state"`
	Reason string        `json:"reason,omitempty"`
	Exit   *drivers.Exit `json:"exit,omitempty"`
}

// Leftover is a workload of an older generation that must go before the
// current one starts.
type Leftover struct {
	Image   string         `json:"image,omitempty"` // path of its image, held until it is gone
	Runtime string         `json:"runtime"`         // whose driver has it
	Handle  drivers.Handle `json:"handle"`
	Signal  string         `json:"signal,omitempty"`
	Grace   time.Duration  `json:"grace,omitempty"`
}

// Instance is an assignment and all that is known of it. It is a value: Step
// returns a changed copy and never touches what its argument shares.
type Instance struct {
	Assignment

	Image     string          `json:"image_path,omitempty"` // of the workload, held until it is gone; empty if its runtime has it
	Phase     Phase           `json:"phase"`
	Removed   bool            `json:"removed,omitempty"` // not wanted any more
	Handle    *drivers.Handle `json:"handle,omitempty"`  // nil: not created, or not known to be
	Leftovers []Leftover      `json:"leftovers,omitempty"`

	Devices []drivers.Device `json:"devices,omitempty"`      // allotted to it, until it ends
	Held    []drivers.Device `json:"held_devices,omitempty"` // of older generations, until they are cleared

	State       job.State `json:"state"`
	Incarnation uint64    `json:"incarnation"`       // differs each time that sequence numbers begin anew
	Seq         uint64    `json:"seq"`               // of the newest change
	Changes     []Change  `json:"changes,omitempty"` // not acknowledged, oldest first
	Dropped     int       `json:"dropped,omitempty"` // changes lost to the bound before the first of Changes

	Restarts  int            `json:"restarts,omitempty"`     // in all
	Failures  int            `json:"failures,omitempty"`     // ends in a row that count for the restart policy
	StartedAt time.Time      `json:"started_at,omitzero"`    // last start
	BootID    string         `json:"boot_id,omitempty"`      // of the node at the last start
	NotBefore time.Time      `json:"not_before,omitzero"`    // PhaseWait: when to start
	Delay     time.Duration  `json:"delay,omitempty"`        // PhaseWait: how long that was to be
	Ports     []drivers.Port `json:"ports,omitempty"`        // as the runtime mapped them
	Exit      *drivers.Exit  `json:"exit,omitempty"`         // of the last run
	Final     string         `json:"final_reason,omitempty"` // why it ended for good

	// Not stored: known again after a restart of the agent.
	Inspect bool          `json:"-"` // ask the driver how the workload is before anything else
	RetryIn time.Duration `json:"-"` // the last action could not be done; pause before it is repeated
	Tries   int           `json:"-"` // repetitions so far
	Note    string        `json:"-"` // what it is doing, for people
}

// maxChanges bounds the history of an instance that nobody has acknowledged.
const maxChanges = 64

// accept returns a new instance for an assignment, with the devices for it.
func accept(a Assignment, devices []drivers.Device, now time.Time) Instance {
	in := Instance{Assignment: a, Devices: devices, Phase: PhaseCreate, State: job.ScheduledCluster, Incarnation: uint64(now.UnixNano())}
	return in.move(job.ScheduledNode, "accepted", nil, now)
}

// Active reports whether there is something to do for the instance.
func (in Instance) Active() bool { return in.Phase != PhaseEnded && in.Phase != PhaseGone }

// Reserves reports whether the instance's requirements are taken from the
// node's capacity.
func (in Instance) Reserves() bool { return in.Active() }

// images returns the paths of the images that the instance's workloads use.
func (in Instance) images() []string {
	var out []string
	if in.Image != "" {
		out = append(out, in.Image)
	}
	for _, l := range in.Leftovers {
		if l.Image != "" {
			out = append(out, l.Image)
		}
	}
	return out
}

// dropped returns the images that are not used any more after an event.
func dropped(before, after Instance, ev Event) []string {
	held := before.images()
	if ev.Image != "" {
		held = append(held, ev.Image)
	}
	for _, image := range after.images() {
		if i := slices.Index(held, image); i >= 0 {
			held = slices.Delete(held, i, i+1)
		}
	}
	return held
}

// forgettable reports whether nothing of the instance is owed to anybody.
func (in Instance) forgettable() bool { return in.Phase == PhaseGone && len(in.Changes) == 0 }

// move adds a change of state to the history. A move to the state that it has,
// or that the table does not allow, only becomes a note: the parent would
// refuse it.
func (in Instance) move(to job.State, reason string, exit *drivers.Exit, now time.Time) Instance {
	if job.Move(in.State, to) != nil {
		in.Note = reason
		return in
	}
	in.State = to
	in.Note = ""
	in.Seq++
	in.Changes = append(slices.Clone(in.Changes), Change{Seq: in.Seq, Time: now, State: to, Reason: reason, Exit: exit})
	if n := len(in.Changes) - maxChanges; n > 0 {
		in.Changes = in.Changes[n:]
		in.Dropped += n
		first := &in.Changes[0]
		first.Reason = fmt.Sprintf("%s (%d earlier changes were not kept)", first.Reason, in.Dropped)
	}
	return in
}

// acknowledge drops the changes up to seq: the parent has stored them.
func (in Instance) acknowledge(generation, seq uint64) Instance {
	if in.Generation != generation {
		return in
	}
	n := 0
	for n < len(in.Changes) && in.Changes[n].Seq <= seq {
		n++
	}
	if n > 0 {
		in.Changes = slices.Clone(in.Changes[n:])
		in.Dropped = 0
	}
	return in
}

// stopOptions says how the instance's workload is asked to end.
func (in Instance) stopOptions() drivers.StopOptions {
	o := drivers.StopOptions{Signal: in.Job.Stop.Signal, Grace: defaultGrace}
	if in.Job.Stop.Grace != nil {
		o.Grace = time.Duration(*in.Job.Stop.Grace)
	}
	return o
}

// defaultGrace is used for assignments that do not say one.
const defaultGrace = 10 * time.Second
