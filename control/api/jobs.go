package api

import (
	"time"

	"github.com/edgeio/edgeio/proto/job"
)

// Desired is what the user wants of a job.
type Desired string

// What a user may want.
const (
	DesiredRunning    Desired = "running"
	DesiredTerminated Desired = "terminated"
)

// Job is a job as the API shows it.
type Job struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	State     job.State  `json:"state" doc:"The states of its instances, rolled up into the one that most needs attention"`
	Desired   Desired    `json:"desired" enum:"running,terminated"`
	Owner     string     `json:"owner,omitempty" doc:"Name of the API token that deployed it"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at" doc:"Time of the last change of state"`
	Spec      job.Job    `json:"spec" doc:"The job file, with the defaults filled in"`
	Instances []Instance `json:"instances" nullable:"false"`
}

// Instance is one running copy of a job, or the wish for one.
type Instance struct {
	ID         string      `json:"id"`
	Index      int         `json:"index" doc:"Which replica, from 0"`
	State      job.State   `json:"state"`
	Reason     string      `json:"reason,omitempty" doc:"Why it is in this state"`
	Since      time.Time   `json:"since,omitzero" doc:"When it came into this state"`
	Cluster    Ref         `json:"cluster,omitzero"`
	Node       Ref         `json:"node,omitzero"`
	Generation uint64      `json:"generation" doc:"Counts the placements; the owner is the one with the highest"`
	Restarts   int         `json:"restarts"`
	Endpoints  []Endpoint  `json:"endpoints,omitempty"`
	Progress   *Progress   `json:"progress,omitempty" doc:"What is being done now, while an image is fetched"`
	Exit       *Exit       `json:"exit,omitempty" doc:"How the workload last ended"`
	History    []Change    `json:"history" nullable:"false" doc:"Changes of state, oldest first"`
	Rejections []Rejection `json:"rejections,omitempty" doc:"Why nobody takes it, when it is NOT_DEPLOYABLE"`
}

// Ref names a cluster or a node.
type Ref struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// String is the name, or the id of something without a name.
func (r Ref) String() string {
	if r.Name != "" {
		return r.Name
	}
	return r.ID
}

// Endpoint is where a port of an instance can be reached.
type Endpoint struct {
	Name      string   `json:"name,omitempty"`
	Protocol  string   `json:"protocol" doc:"tcp or udp"`
	Port      int      `json:"port" doc:"Port of the workload"`
	HostPort  int      `json:"host_port" doc:"Port of the node"`
	Addresses []string `json:"addresses,omitempty" doc:"Addresses of the node"`
}

// Progress is how far a longer step has come.
type Progress struct {
	Phase   string `json:"phase"`
	Current int64  `json:"current"`
	Total   int64  `json:"total" doc:"0: not known"`
}

// Exit is how a workload ended.
type Exit struct {
	Code      int  `json:"code"`
	OOMKilled bool `json:"oom_killed,omitempty" doc:"Ended because it needed more memory than its limit"`
	Lost      bool `json:"lost,omitempty" doc:"Ended while nobody watched; the code is not known"`
}

// Change is one entry of an instance's history.
type Change struct {
	Revision uint64    `json:"revision,omitempty" doc:"The event that told of it"`
	Time     time.Time `json:"time"`
	State    job.State `json:"state"`
	Reason   string    `json:"reason,omitempty"`
}

// Rejection is why a cluster or a node does not take a job. Those of a
// cluster's nodes are nested in the cluster's own.
type Rejection struct {
	Kind   string      `json:"kind" enum:"cluster,node"`
	ID     string      `json:"id"`
	Name   string      `json:"name"`
	Reason string      `json:"reason"`
	Nested []Rejection `json:"nested,omitempty"`
}

// Explanation is what the scheduler says of a job.
type Explanation struct {
	Job        string      `json:"job,omitempty" doc:"Id of the job; empty for a job file that was not deployed"`
	State      job.State   `json:"state,omitempty" doc:"Of the job now"`
	Accepting  []string    `json:"accepting" nullable:"false" doc:"Names of the nodes that would take it now"`
	Rejections []Rejection `json:"rejections" nullable:"false" doc:"Why each of the others would not"`
}

// Event tells of one change of state. Revisions rise by at least one from
// event to event.
type Event struct {
	Revision   uint64    `json:"revision"`
	Time       time.Time `json:"time"`
	JobID      string    `json:"job_id"`
	JobName    string    `json:"job_name"`
	InstanceID string    `json:"instance_id"`
	State      job.State `json:"state"`
	Reason     string    `json:"reason,omitempty"`
	Cluster    string    `json:"cluster,omitempty" doc:"Name of the cluster"`
	Node       string    `json:"node,omitempty" doc:"Name of the node"`
}

// LogEntry is a piece of the output of a workload: mostly a line, with its
// line break; never more than 64 KiB.
type LogEntry struct {
	Time   time.Time `json:"time"`
	Stream string    `json:"stream" enum:"stdout,stderr"`
	Data   []byte    `json:"data" doc:"The bytes, base64"`
}

// LogLine is a line of a log stream in NDJSON: an entry or, at the end of a
// stream that broke off, the problem.
type LogLine struct {
	LogEntry
	Problem *Problem `json:"problem,omitempty"`
}

// ValidJob is the answer to a job file without faults.
type ValidJob struct {
	Job job.Job `json:"job" doc:"The job file, with the defaults filled in"`
}

// Version tells who answers.
type Version struct {
	Version string `json:"version" doc:"Of the program"`
	Tier    string `json:"tier,omitempty" doc:"root or cluster"`
	Name    string `json:"name,omitempty"`
}
