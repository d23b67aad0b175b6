package orchestrator

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edgeio/edgeio/proto/job"
)

// The records are immutable once they are in a table: a change is a copy.

// Desired is what is wanted of a job or an instance.
type Desired string

// What can be wanted.
const (
	DesiredRunning    Desired = "running"
	DesiredTerminated Desired = "terminated"
)

// Job is a user's wish.
type Job struct {
	ID             string          `json:"id"`
	Name           string          `json:"name"`
	Spec           json.RawMessage `json:"spec"` // job.Job, normalized
	Desired        Desired         `json:"desired"`
	Owner          string          `json:"owner,omitempty"`
	IdempotencyKey string          `json:"idempotency_key,omitempty"`
	CreatedAt      time.Time       `json:"created_at"`

	parsed *job.Job // of Spec
}

// Instance is one copy of a job that shall run somewhere below.
type Instance struct {
	ID      string          `json:"id"`
	JobID   string          `json:"job_id"`
	Index   uint32          `json:"index"`
	Spec    json.RawMessage `json:"spec"`
	Desired Desired         `json:"desired"`

	// Generation of the present assignment, or of the last one. The root counts
	// in steps of generationStep; a cluster counts up from what the root gave,
	// so that of any two assignments of an instance the later one is higher.
	Generation uint64 `json:"generation"`
	ChildID    string `json:"child_id,omitempty"` // to whom it is assigned
	// What has been taken over of the child's changes under this generation.
	ChildSeq         uint64 `json:"child_seq,omitempty"`
	ChildIncarnation uint64 `json:"child_incarnation,omitempty"`
	// Children that refused it since it was last placed, by id.
	Refused map[string]Refusal `json:"refused,omitempty"`

	State      job.State   `json:"state"`
	Reason     string      `json:"reason,omitempty"`
	Since      time.Time   `json:"since"`
	Exit       *Exit       `json:"exit,omitempty"`
	Rejections []Rejection `json:"rejections,omitempty"`
	NodeID     string      `json:"node_id,omitempty"`
	NodeName   string      `json:"node_name,omitempty"`
	Endpoints  []Endpoint  `json:"endpoints,omitempty"`
	Restarts   uint32      `json:"restarts,omitempty"`

	// Only where a parent gave the instance (clusters).
	ParentGeneration uint64   `json:"parent_generation,omitempty"`
	Incarnation      uint64   `json:"incarnation,omitempty"`
	Seq              uint64   `json:"seq,omitempty"`    // of the last change
	Outbox           []Change `json:"outbox,omitempty"` // changes that the parent has not acknowledged

	HistoryLen int `json:"history_len,omitempty"` // about how many changes are kept

	parsed *job.Job // of Spec
}

// generationStep is what the root adds for each placement; a cluster has the
// lower half of the number for its own.
const generationStep = 1 << 32

// Change is one entry of the history of an instance.
type Change struct {
	Revision   uint64      `json:"revision,omitempty"` // counts all changes of this orchestrator
	Seq        uint64      `json:"seq,omitempty"`      // counts the changes of this instance; clusters
	Time       time.Time   `json:"time"`
	State      job.State   `json:"state"`
	Reason     string      `json:"reason,omitempty"`
	Exit       *Exit       `json:"exit,omitempty"`
	Rejections []Rejection `json:"rejections,omitempty"`
	ChildID    string      `json:"child_id,omitempty"`
	NodeName   string      `json:"node_name,omitempty"`
}

// Exit is how a run of a workload ended.
type Exit struct {
	Code      int  `json:"code"`
	OOMKilled bool `json:"oom_killed,omitempty"`
	Lost      bool `json:"lost,omitempty"`
}

// Rejection is why a candidate does not take a job.
type Rejection struct {
	Kind   string      `json:"kind"`
	ID     string      `json:"id"`
	Name   string      `json:"name"`
	Reason string      `json:"reason"`
	Nested []Rejection `json:"nested,omitempty"`
}

// Refusal is what a child said when it was given an instance. The child is
// tried again when it has made another offer, but the later the more often it
// has refused.
type Refusal struct {
	Reason string      `json:"reason"`
	Nested []Rejection `json:"nested,omitempty"`
	Count  int         `json:"count,omitempty"`
	Until  time.Time   `json:"until,omitzero"`
	Lifted bool        `json:"lifted,omitempty"` // it may be tried again
}

// Endpoint is where a port of an instance can be reached.
type Endpoint struct {
	Name      string   `json:"name,omitempty"`
	Protocol  string   `json:"protocol"`
	Port      uint32   `json:"port"`
	HostPort  uint32   `json:"host_port"`
	Addresses []string `json:"addresses,omitempty"`
}

// Child is a cluster or node that has registered here. It is kept after it has
// gone away, so that it can be shown, and is deleted when it leaves.
type Child struct {
	ID       string            `json:"id"`
	Kind     string            `json:"kind"` // "cluster" or "node"
	Name     string            `json:"name"`
	Location string            `json:"location,omitempty"`
	Version  string            `json:"version,omitempty"`
	BootID   string            `json:"boot_id,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Report   json.RawMessage   `json:"report,omitempty"`
	JoinedAt time.Time         `json:"joined_at"`
	LastSeen time.Time         `json:"last_seen"` // when it last registered or went away
}

// Job returns what the user wrote, normalized. It must not be changed.
func (j *Job) Job() *job.Job { return j.parsed }

func (j *Job) parse() error {
	parsed, err := job.Decode(j.Spec)
	if err != nil {
		return fmt.Errorf("job %s: %w", j.ID, err)
	}
	j.parsed = parsed
	return nil
}

// Job returns the instance's job. It must not be changed.
func (in *Instance) Job() *job.Job { return in.parsed }

// wanted reports whether the instance shall run and has not come to its end.
func (in *Instance) wanted() bool { return in.Desired == DesiredRunning && !in.State.Ended() }

// unplaced reports whether the instance waits for a place.
func (in *Instance) unplaced() bool { return in.wanted() && in.ChildID == "" }

// refusedBy reports whether the child has refused it and is not to be tried again yet.
func (in *Instance) refusedBy(childID string) (Refusal, bool) {
	r, ok := in.Refused[childID]
	return r, ok && !r.Lifted
}

// Pauses until a child may be given again what it has refused.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Minute
)

// withRefusal returns a copy of the refusals with one more.
func (in *Instance) withRefusal(childID string, r Refusal, now time.Time) map[string]Refusal {
	r.Count = in.Refused[childID].Count + 1
	r.Until = now.Add(min(firstRetry<<min(r.Count-1, 16), lastRetry))
	r.Reason, r.Nested = shorten(r.Reason), limitRejections(r.Nested)
	m := maps.Clone(in.Refused)
	if m == nil {
		m = map[string]Refusal{}
	}
	m[childID] = r
	return m
}

// maxReason bounds what others say, and maxRejections how many of them.
const (
	maxReason     = 2 << 10
	maxRejections = 100
)

func shorten(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	return strings.ToValidUTF8(reason[:maxReason], "") + "…"
}

// limitRejections keeps what is stored and sent small in a large tree: each
// level says how many more there are. Explain tells all.
func limitRejections(in []Rejection) []Rejection {
	left := maxRejections
	return limitTo(in, &left)
}

func limitTo(in []Rejection, left *int) []Rejection {
	n := min(len(in), *left)
	*left -= n
	out := slices.Clone(in[:n])
	for i := range out {
		out[i].Reason, out[i].Nested = shorten(out[i].Reason), limitTo(out[i].Nested, left)
	}
	if more := len(in) - n; more > 0 {
		out = append(out, Rejection{Kind: in[n].Kind, Name: "…", Reason: fmt.Sprintf("and %d more; explain the job to see all", more)})
	}
	return out
}

func (in *Instance) parse() error {
	j, err := job.Decode(in.Spec)
	if err != nil {
		return fmt.Errorf("instance %s: job: %w", in.ID, err)
	}
	in.parsed = j
	return nil
}
